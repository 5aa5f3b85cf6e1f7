import json
import logging
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from dassl.config import get_cfg_default
from dassl.evaluation import Classification, build_evaluator
from dassl.metrics import (
    bins_of,
    calibration_error,
    compute_accuracy,
    compute_ci95,
    macro_accuracy,
    macro_f1,
)
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    Registry,
    listdir_nohidden,
    read_json,
    setup_logger,
    write_json,
)


def test_macro_f1_is_sklearns():
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    rng = np.random.default_rng(0)
    for n_classes in (2, 5, 30):
        y_true, y_pred = rng.integers(0, n_classes, (2, 40))
        expected = f1_score(y_true, y_pred, average="macro", labels=np.unique(y_true))
        assert macro_f1(y_true, y_pred) == pytest.approx(expected, abs=1e-12)


def test_macro_accuracy_is_sklearns():
    rng = np.random.default_rng(0)
    for n_classes in (2, 5, 30):
        y_true, y_pred = rng.integers(0, n_classes, (2, 40))
        assert macro_accuracy(y_true, y_pred) == pytest.approx(balanced_accuracy_score(y_true, y_pred))
    assert macro_accuracy(np.array([0, 0, 0, 2]), np.array([0, 0, 0, 5])) == 0.5  # class 1 has no images


def test_calibration():
    """By hand; and a classifier that is right as often as it says has no error."""
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.52, 1.0])
    correct = np.array([True, True, True, False, True, True])
    found = bins_of(confidence, correct)
    assert [part.images for part in found] == [1, 5]
    assert found[1].confidence == pytest.approx(4.8 / 5) and found[1].accuracy == 0.8
    assert calibration_error(confidence, correct) == pytest.approx((1 * 0.48 + 5 * 0.16) / 6)
    exact = np.repeat([0.5, 0.8], [10, 10])
    assert calibration_error(exact, np.array(([True, False] * 5) + [True] * 8 + [False] * 2)) < 1e-12
    edges = np.array([0.0, 1 / 15, 1.0])
    assert [part.images for part in bins_of(edges, edges > 2)] == [1, 1, 1]


def test_confidence_is_the_softmax_of_all_batches():
    evaluator = build_evaluator(get_cfg_default(), lab2cname={0: "cat", 1: "dog"})
    evaluator.process(torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]]), torch.tensor([1, 0]))
    evaluator.process(torch.tensor([[math.log(9), 0.0]]), torch.tensor([0]))
    results = evaluator.evaluate()
    assert results["ece"] == pytest.approx(100 * (2 * 0.25 + 0.1) / 3) and results["macro_accuracy"] == 75
    parts = evaluator.reliability()
    assert [(part.images, part.accuracy) for part in parts] == [(2, 0.5), (1, 1.0)]
    assert [part.confidence for part in parts] == pytest.approx([0.75, 0.9])
    evaluator.process(torch.tensor([[math.inf, 0.0]]), torch.tensor([0]))
    assert evaluator.reliability()[-1][:2] == (1, 1.0)


def test_accuracy():
    output = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.2], [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]])
    target = torch.tensor([1, 2, 0, 0])
    top1, top2 = compute_accuracy(output, target, topk=(1, 2))
    assert top1.tolist() == [50.0] and top2.tolist() == [75.0]
    assert compute_accuracy([output, None], target)[0].item() == 50.0
    assert compute_ci95([1.0, 3.0]) == pytest.approx(1.96 / 2**0.5)


def test_classification(tmp_path, capsys):
    cfg = get_cfg_default()
    cfg.merge_from_list(
        ["TEST.PER_CLASS_RESULT", True, "TEST.COMPUTE_CMAT", True, "OUTPUT_DIR", str(tmp_path)]
    )
    evaluator = build_evaluator(cfg, lab2cname={0: "cat", 1: "dog", 2: "owl"})
    evaluator.process(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 1, 1]))
    evaluator.process(torch.eye(3)[[2]], torch.tensor([2]))
    results = evaluator.evaluate()
    assert next(iter(results)) == "accuracy"
    assert results["accuracy"] == 75.0 and results["error_rate"] == 25.0
    assert results["macro_f1"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 1) / 3)
    assert (results["total"], results["correct"]) == (4, 3)
    assert results["perclass_accuracy"] == pytest.approx(250 / 3)
    out = capsys.readouterr().out
    assert "=> result\n* total: 4\n* correct: 3\n* accuracy: 75.00%\n* error: 25.00%\n" in out
    assert "* macro_f1: 77.78%\n" in out
    assert "* class: 1 (dog)\ttotal: 2\tcorrect: 1\tacc: 50.00%" in out
    counts = np.load(tmp_path / "cmat.npz")["counts"]
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    evaluator.reset()
    with pytest.raises(ValueError, match="no images"):
        evaluator.evaluate()
    with pytest.raises(FloatingPointError, match="NaN"):
        evaluator.process(torch.tensor([[float("nan"), 1.0]]), torch.tensor([0]))


class Counting(Classification):
    """As other projects extend it: by what Dassl's keeps."""

    def process(self, mo, gt):
        super().process(mo, gt)
        self._correct += 1
        self._y_true.extend(gt.tolist())
        self._y_pred.extend(gt.tolist())
        self._total += len(gt)
        for label in gt.tolist():
            self._per_class_res[label].append(1)


def test_a_subclass_finds_what_dassls_keeps(capsys):
    cfg = get_cfg_default()
    cfg.TEST.PER_CLASS_RESULT = True
    evaluator = Counting(cfg, lab2cname={0: "cat", 1: "dog"})
    for _ in range(2):
        evaluator.reset()
        evaluator.process(torch.eye(2)[[0, 0]], torch.tensor([0, 1]))
        assert (evaluator._total, evaluator._correct) == (4, 2)
        assert evaluator._y_true == [0, 1, 0, 1] and evaluator._y_pred == [0, 0, 0, 1]
        assert dict(evaluator._per_class_res) == {0: [1, 1], 1: [0, 1]}
        assert evaluator.evaluate()["perclass_accuracy"] == 75.0
    plain = Classification(get_cfg_default())
    assert plain._per_class_res is None


def test_dassls_confusion_matrix(tmp_path):
    cfg = get_cfg_default()
    cfg.merge_from_list(["TEST.COMPUTE_CMAT", True, "OUTPUT_DIR", str(tmp_path)])
    evaluator = build_evaluator(cfg, lab2cname=dict(enumerate("abcde")))
    true, predicted = [0, 0, 0, 1, 4], [0, 3, 3, 1, 0]  # 3 is only predicted, 2 does not occur
    evaluator.process(torch.eye(5)[predicted], torch.tensor(true))
    evaluator.evaluate()
    cmat = torch.load(tmp_path / "cmat.pt", weights_only=True)
    assert cmat.dtype == torch.float64
    np.testing.assert_array_equal(cmat, confusion_matrix(true, predicted, normalize="true"))
    assert cmat[0].tolist() == [1 / 3, 0, 2 / 3, 0]  # rows are true classes
    assert np.load(tmp_path / "cmat.npz")["counts"].shape == (5, 5)


def test_meters():
    meter = AverageMeter()
    meter.update(torch.tensor(1.0, requires_grad=True))
    meter.update(4.0, n=2)
    assert (meter.val, meter.avg) == (4.0, 3.0)
    meters = MetricMeter()
    meters.update({"loss": 1.0, "acc": torch.tensor(50.0)})
    meters.update({"loss": 2.0, "acc": 100.0})
    assert str(meters) == "loss 2.0000 (1.5000) acc 100.0000 (75.0000)"


def test_registry():
    registry = Registry("METHOD")
    registry.register(SimpleNamespace(__name__="CoOp"))
    with pytest.raises(ValueError, match="CoOp"):
        registry.get("coop")
    with pytest.raises(ValueError, match="Known: CoOp"):
        registry.get("xyz")
    with pytest.raises(ValueError, match="already"):
        registry.register(SimpleNamespace(__name__="CoOp"))
    assert registry.registered_names() == ["CoOp"]


@pytest.fixture
def own_logging(monkeypatch):
    """Root logger and standard output as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_log_file(tmp_path, own_logging, capsys):
    setup_logger(str(tmp_path))
    print("printed")
    logging.getLogger("x").info("logged")
    setup_logger(str(tmp_path))
    print("second run")
    sys.stdout.flush()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2 and names[0] == "log.txt"
    assert (tmp_path / "log.txt").read_text() == "second run\n"
    assert (tmp_path / names[1]).read_text() == "printed\nlogged\n"
    assert capsys.readouterr().out == "printed\nlogged\nsecond run\n"


def test_json(tmp_path):
    write_json({"a": [1]}, str(tmp_path / "x" / "a.json"))
    assert read_json(str(tmp_path / "x" / "a.json")) == {"a": [1]}
    assert listdir_nohidden(str(tmp_path / "x")) == ["a.json"]
    (tmp_path / "bad.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(ValueError, match=r"bad\.json"):
        read_json(str(tmp_path / "bad.json"))
