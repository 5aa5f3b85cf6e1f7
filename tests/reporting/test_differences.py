"""What DPC adds to its backbone: paired by seed, with Student's interval."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from parse_test_res import main
from reporting.differences import confidence_interval
from tests.reporting.test_protocol_tables import cells_of, output_of, records_of, write_run

DPC = "CoOp + DPC (paper)"


def write_seeds(root: Path, trainer: str, pairs: dict[int, tuple[float, float]], cfg: str = "demo") -> None:
    """Base and new accuracies by seed on EuroSAT."""
    for seed, pair in pairs.items():
        for subset, part, accuracy in zip(("base", "new"), ("train_base", "test_new"), pair, strict=True):
            place = f"base2new/{part}/eurosat"
            write_run(root, place, trainer, seed, accuracy, dataset="EuroSAT", subset=subset, cfg=cfg)


def numbers(record: dict[str, str], name: str) -> list[float]:
    return [float(record[f"{name}_gain{end}"]) for end in ("", "_low", "_high", "_n")]


def test_the_interval_is_students():
    values = [1.0, 2.5, 4.0, 3.0]
    low, high = stats.t.interval(0.95, 3, loc=2.625, scale=stats.sem(values))
    assert confidence_interval(values) == pytest.approx((2.625, low, high, 4))
    assert confidence_interval([2.0]) == (2.0, None, None, 1)
    assert confidence_interval([]) is None


def test_differences_are_paired_by_seed(tmp_path, capsys):
    write_seeds(tmp_path, "CoOp", {1: (80.0, 60.0), 2: (70.0, 50.0), 3: (60.0, 40.0), 4: (10.0, 90.0)})
    write_seeds(tmp_path, "CoOp_DPC", {3: (64.0, 40.0), 2: (73.0, 50.0), 1: (82.0, 60.0)})
    text = output_of(capsys, tmp_path, "--base-new", "--difference", "--format", "csv")
    records = records_of(text)
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem([2.0, 3.0, 4.0]))
    assert numbers(records[DPC], "base") == pytest.approx([3.0, low, high, 3])
    assert numbers(records[DPC], "new") == [0.0, 0.0, 0.0, 3]
    h = [2 * b * n / (b + n) for b, n in ((82, 60), (73, 50), (64, 40))]
    before = [2 * b * n / (b + n) for b, n in ((80, 60), (70, 50), (60, 40))]
    mean = sum(ours - theirs for ours, theirs in zip(h, before, strict=True)) / 3
    assert numbers(records[DPC], "h")[0] == pytest.approx(mean)
    assert records["CoOp"]["base_gain"] == "" and records["CoOp"]["base_gain_n"] == "0"
    rows = cells_of(output_of(capsys, tmp_path, "--base-new", "--difference"))
    assert rows[0][5:] == ["Δ Base", "Δ New", "Δ H", "n"]
    assert rows[2][5] == f"+3.00 [{low:+.2f}, {high:+.2f}]" and rows[1][5] == "-"


def test_one_seed_has_no_interval_and_no_pair_no_column(tmp_path, capsys):
    write_seeds(tmp_path, "CoOp", {1: (80.0, 60.0)})
    write_seeds(tmp_path, "CoOp_DPC", {1: (79.5, 60.0)})
    assert cells_of(output_of(capsys, tmp_path, "--base-new", "--difference"))[2][5] == "-0.50"
    other = tmp_path / "other"
    write_seeds(other, "CoOp", {1: (80.0, 60.0)})
    write_seeds(other, "CoOp_DPC", {2: (80.0, 60.0)})
    text = output_of(capsys, other, "--base-new", "--difference")
    assert cells_of(text)[0] == ["Data set", "Method", "Base", "New", "H", "n"]
    assert "No row has a seed in common with its backbone: Δ Base, Δ New, Δ H." in text


@pytest.mark.parametrize(("named", "gain"), [("a", 10.0), ("b", -10.0), (None, None)])
def test_of_several_backbones_the_one_of_the_log_counts(tmp_path, capsys, named, gain):
    write_seeds(tmp_path, "CoOp", {1: (70.0, 60.0)}, cfg="a")
    write_seeds(tmp_path, "CoOp", {1: (90.0, 60.0)}, cfg="b")
    write_seeds(tmp_path, "CoOp_DPC", {1: (80.0, 60.0)}, cfg="c")
    if named:
        log = tmp_path / "base2new/train_base/eurosat/shots_16/CoOp_DPC/c/seed1/log.txt"
        log.write_text(f"settings:\nTRAINER:\n  DPC:\n    BACKBONE_DIR: /x/CoOp/{named}/seed1\n")
    records = records_of(output_of(capsys, tmp_path, "--base-new", "--difference", "--format", "csv"))
    assert records[DPC]["base_gain"] == ("" if gain is None else str(gain))


def test_promptkds_students_have_no_shots(tmp_path, capsys):
    for trainer, shots, accuracy in (("PromptKD", 0, 80.0), ("PromptKD_DPC", 16, 82.0)):
        for subset, part in (("base", "train_base"), ("new", "test_new")):
            place = f"base2new/{part}/eurosat"
            write_run(tmp_path, place, trainer, 1, accuracy, dataset="EuroSAT", subset=subset, shots=shots)
    records = records_of(output_of(capsys, tmp_path, "--base-new", "--difference", "--format", "csv"))
    assert records["PromptKD + DPC (paper)"]["base_gain"] == "2.0"


def test_differences_of_the_other_protocols(tmp_path, capsys):
    for trainer, add in (("CoOp", 0.0), ("CoOp_DPC", 2.0)):
        for seed in (1, 2):
            more = add * seed
            write_run(tmp_path, "xd/train/imagenet", trainer, seed, 70.0 + more, dataset="ImageNet")
            write_run(tmp_path, "xd/test/dtd", trainer, seed, 40.0, dataset="DescribableTextures")
            write_run(tmp_path, "xd/test/eurosat", trainer, seed, 50.0 + more, dataset="EuroSAT")
            write_run(tmp_path, "few_shot/dtd", trainer, seed, 60.0 + more, dataset="dtd", shots=4)
            if trainer == "CoOp":
                write_run(tmp_path, "few_shot/dtd", "ZeroshotCLIP", seed, 50.0, dataset="dtd", shots=0)
            write_run(tmp_path, "few_shot/dtd", trainer, seed, 70.0 - more, dataset="dtd", shots=16)
    (_, ours) = records_of(output_of(capsys, tmp_path, "--xd", "--difference", "--format", "csv")).values()
    assert numbers(ours, "source_accuracy")[::3] == [3.0, 2]
    assert numbers(ours, "cross_dataset_average")[::3] == [1.5, 2]
    text = output_of(capsys, tmp_path, "--few-shot", "--difference", "--format", "csv")
    ours = records_of(text)[DPC]
    assert "shots_0" in ours and "shots_0_gain" not in ours
    assert [numbers(ours, f"shots_{n}")[0] for n in (4, 16)] == [3.0, -3.0]
    assert main([str(tmp_path), "--xd", "--difference"]) == 0
    assert "Δ: DPC or DePT - its prompt learner alone, of the same seed" in capsys.readouterr().out


def test_dept_is_compared_with_its_learner_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_seeds(tmp_path, "CoOp", {1: (70, 60), 2: (72, 60)})
    write_seeds(tmp_path, "CoOp_DePT", {1: (75, 61), 2: (78, 61)})
    row = records_of(output_of(capsys, tmp_path, "--base-new", "--difference", "--format", "csv"))[
        "CoOp + DePT"
    ]
    assert [numbers(row, name)[0] for name in ("base", "new")] == [5.5, 1.0]
