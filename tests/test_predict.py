"""Single images: the same probabilities as in a test, from nothing but a run's folder."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import predict
from tests.conftest import ROOT

Build = Callable[..., Any]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("CoOp", ()),
        ("CoCoOp", ()),
        ("CoOp_DPC", ()),
        ("MaPLe_DPC", ()),
        ("PromptSRC_DPC", ("TRAINER.DPC.VARIANT", "released")),
        ("PromptKD", ()),
    ],
)
@pytest.mark.parametrize("classes", ["base", "new"])
def test_probabilities_are_those_of_a_test(
    method: str, options: tuple[str, ...], classes: str, trained: Any, build: Build, data_root: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder, used = trained(method, *options)
    subset = ("DATASET.SUBSAMPLE_CLASSES", classes, "TEST.SAVE_LOGITS", "True")
    tested = build(method, *used, *subset, output=tmp_path / "tested")
    tested.load_model(str(folder), epoch=1)
    tested.test()
    record = np.load(tmp_path / "tested" / "logits.npz")
    expected = torch.from_numpy(record["logits"]).softmax(dim=1)
    paths = [str(data_root / path) for path in record["impath"]]

    names = list(tested.tested("test").names)
    given = [] if classes == "base" and method != "PromptKD" else names
    trainer = predict.load_run(folder, given, None, [])
    found = dict(predict.predict(trainer, paths))
    assert list(found) == paths
    torch.testing.assert_close(torch.stack(list(found.values())), expected, atol=1e-5, rtol=0)


def test_the_command_line(trained: Any, data_root: Path) -> None:
    folder, _ = trained("CoOp")
    images = sorted(map(str, data_root.rglob("test_*.png")))[:3]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "predict.py", *words, "--model-dir", str(folder)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    lines = run(*images, "--top", "2").stdout.splitlines()
    assert lines[::3] == images and len(lines) == 9
    assert all(line.lstrip()[0].isdigit() and "%  " in line for line in lines[1:3])
    header, *rows = csv.reader(run(*images, "--csv", "--classes", "red, or so", "green").stdout.splitlines())
    assert header == ["image", "red, or so", "green"] and [row[0] for row in rows] == images
    assert all(sum(map(float, row[1:])) == pytest.approx(1, abs=1e-5) for row in rows)
    for words, complaint in (
        (["none.png"], "none.png"),
        ([images[0], "--top", "0"], "--top"),
        ([images[0], "--classes", "a", "a"], "--classes"),
        ([images[0], "--set", "OPTIM.LR"], "['OPTIM.LR']"),
        ([images[0], "--set", "MODEL.BACKBONE.PATH", "gone.pt"], "MODEL.BACKBONE.PATH"),
        ([images[0], "--load-epoch", "7"], "model.pth.tar-7"),
        ([images[0], "--set", "OPTIM.LRR", "1"], "OPTIM.LR"),
    ):
        failed = run(*words)
        assert failed.returncode == 1 and complaint in failed.stderr and "Traceback" not in failed.stderr


def test_unreadable_images_are_named_and_skipped(
    trained: Any, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, _ = trained("CoOp")
    (tmp_path / "photos").mkdir()
    shutil.copy(next(data_root.rglob("test_0.png")), tmp_path / "photos/good.png")
    (tmp_path / "photos/bad.jpg").write_text("no image")
    words = ["--model-dir", str(folder), "--jsonl", "--top", "1"]
    capsys.readouterr()
    assert predict.main([str(tmp_path / "photos"), *words]) == 3
    [answer] = map(json.loads, capsys.readouterr().out.splitlines())
    assert answer["image"].endswith("good.png") and len(answer["top"]) == 1
    assert "bad.jpg' cannot be read" in caplog.text and "1 of 2 images were skipped" in caplog.text

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{tmp_path}/photos/good.png\n"))
    assert predict.main(["-", *words, "--add-classes", "Cloud", "--threshold", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["class"] is None and "not calibrated" in caplog.text
    assert predict.main(["photos", *words, "--threshold", "2"]) == 1
    assert "--threshold must be between 0 and 1, got 2.0" in capsys.readouterr().err
    assert predict.main([str(tmp_path / "photos"), *words, "--add-classes", "Forest"]) == 1
    assert "--add-classes names 'Forest', which is among the classes already" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 2])
def test_batches_change_no_probability(size: int, trained: Any, data_root: Path) -> None:
    folder, _ = trained("MaPLe")
    trainer, images = predict.load_run(folder, [], None, []), sorted(map(str, data_root.rglob("*.png")))[:5]
    one, many = (dict(predict.predict(trainer, images, size=each)) for each in (size, 64))
    assert list(one) == list(many) == images
    torch.testing.assert_close(torch.stack([*one.values()]), torch.stack([*many.values()]))


def test_the_checkpoint_is_the_one_that_was_tested(trained: Any) -> None:
    folder, _ = trained(
        "CoOp", "TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", "3", "TEST.NO_TEST", "False"
    )
    [best] = folder.glob("*/model-best.pth.tar")
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["epoch"] = 2
    checkpoint["state_dict"]["ctx"] += 1
    torch.save(checkpoint, best)
    ctx = predict.load_run(folder, [], None, []).model.prompt_learner.ctx
    assert torch.equal(ctx.detach(), checkpoint["state_dict"]["ctx"])
    ctx = predict.load_run(folder, [], 3, []).model.prompt_learner.ctx
    assert not torch.equal(ctx.detach(), checkpoint["state_dict"]["ctx"])
    best.unlink()  # as where there was no validation
    assert predict.read_run(folder)[1] == 3


def test_order_and_part_of_the_classes_do_not_change_the_prompt(trained: Any) -> None:
    folder, _ = trained("CoOp_DPC")
    own = predict.load_run(folder, [], None, [])
    names = own.dm.dataset.classnames
    for classes, source in ((names[::-1], True), (names[:2], True), ([*names, "Cloud"], False)):
        assert predict.load_run(folder, classes, None, []).on_source_classes() == source


def test_a_run_of_the_repository_can_be_used_from_anywhere(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained("CoOp_DPC")
    [path] = folder.glob("*/model.pth.tar-1")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["settings"]["TRAINER.DPC.BACKBONE_DIR"] = '"CoOp"'  # as typed in the repository
    checkpoint["settings"]["MODEL.INIT_WEIGHTS"] = '"gone.pth.tar"'  # what it started from
    torch.save(checkpoint, path)
    with pytest.raises(FileNotFoundError, match=r"(?s)TRAINER\.DPC\.BACKBONE_DIR is 'CoOp'.*--set KEY VALUE"):
        predict.load_run(folder, [], None, [])
    monkeypatch.setattr(predict, "ROOT", tmp_path)
    assert predict.load_run(folder, [], None, []).on_source_classes()


def test_what_is_no_run(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--model-dir"):
        predict.read_run(tmp_path / "nowhere")
    folder, _ = trained("CoOp")
    [path] = folder.glob("*/model.pth.tar-1")
    checkpoint = torch.load(path, weights_only=True)
    torch.save({"state_dict": checkpoint["state_dict"], "epoch": 1}, path)
    with pytest.raises(ValueError, match="--eval-only"):
        predict.read_run(folder)
