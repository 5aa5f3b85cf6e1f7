"""The command line from end to end, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train
from tests.conftest import ROOT


@pytest.fixture
def command(data_root: Path, tiny_clip_file: Path) -> list[str]:
    """A run on the noise images, up to its trainer and folder."""
    words = f"train.py --root {data_root} --seed 1 --dataset-config-file configs/datasets/eurosat.yaml"
    words += " --config-file configs/trainers/CoOp/vit_b16_ep20_ctxv1.yaml DATALOADER.TRAIN_X.BATCH_SIZE 4"
    words += " DATALOADER.NUM_WORKERS 0 INPUT.SIZE (32,32) DATASET.NUM_SHOTS 3 TRAINER.COOP.PREC fp32"
    return [*words.split(), "MODEL.BACKBONE.PATH", str(tiny_clip_file), "DATASET.SUBSAMPLE_CLASSES"]


def start(command: list[str], classes: str, *flags: str, options: str = "") -> subprocess.Popen[str]:
    """Start ``train.py``; flags stand before the KEY VALUE words."""
    at = command.index("DATALOADER.TRAIN_X.BATCH_SIZE")
    words = [sys.executable, *command[:at], *flags, *command[at:], classes, *options.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(command: list[str], classes: str, *flags: str, options: str = "") -> str:
    """Run ``train.py`` to its end and return its output."""
    process = start(command, classes, *flags, options=options)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


def last_result(folder: Path) -> dict[str, object]:
    return json.loads((folder / "results.jsonl").read_text().splitlines()[-1])


def test_backbone_then_dpc_then_new_classes(command: list[str], tmp_path: Path) -> None:
    coop, dpc, new = tmp_path / "coop", tmp_path / "dpc", tmp_path / "new"
    finish(command, "base", "--trainer", "CoOp", "--output-dir", str(coop), options="OPTIM.MAX_EPOCH 2")
    assert last_result(coop)["subsample_classes"] == "base"
    backbone = f"OPTIM.MAX_EPOCH 2 TRAINER.DPC.BACKBONE_DIR {coop}"
    output = finish(command, "base", "--trainer", "CoOp_DPC", "--output-dir", str(dpc), options=backbone)
    assert "=> result" in output and "* accuracy:" in (dpc / "log.txt").read_text()
    arguments = ("--trainer", "CoOp_DPC", "--output-dir", str(new), "--eval-only", "--model-dir", str(dpc))
    finish(command, "new", *arguments, "--load-epoch", "2", options=backbone)
    result = last_result(new)
    assert result["method"] == "CoOp_DPC" and result["epoch"] == 2
    assert result["metrics"]["total"] == 9  # type: ignore[index]


def test_killed_and_repeated_ends_with_the_same_weights_bit_for_bit(
    command: list[str], tmp_path: Path
) -> None:
    coop = tmp_path / "coop"
    finish(command, "base", "--trainer", "CoOp", "--output-dir", str(coop), options="OPTIM.MAX_EPOCH 1")
    options = f"OPTIM.MAX_EPOCH 40 TRAINER.DPC.BACKBONE_DIR {coop}"
    weights = []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        flags = ("--trainer", "CoOp_DPC", "--output-dir", str(folder))
        if name == "killed":
            process = start(command, "base", *flags, options=options)
            deadline = time.time() + 60
            while not (folder / "resume.pth.tar").exists() and time.time() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert not (folder / "prompt_learner").exists(), "the kill came before the end"
            assert "Resuming" in finish(command, "base", *flags, options=options)
        else:
            finish(command, "base", *flags, options=options)
        weights.append(torch.load(folder / "prompt_learner/model.pth.tar-40")["state_dict"]["ctx"])
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("TRAINER.DPC.WEIGHT_BASE -0.1", "WEIGHT_BASE is -0.1; it must be w_b in (0, 1]"),
        ("TRAINER.DPC.WEIGHT_BASE 1.5", "WEIGHT_BASE is 1.5; it must be w_b in (0, 1]"),
        ("TRAINER.DPC.TOPK 1", "TRAINER.DPC.TOPK is 1"),
        ("TRAINER.DPC.VARIANT papr", "TRAINER.DPC.VARIANT is 'papr'"),
        ("TRAINER.DPC.BACKBONE_DIR ", "TRAINER.DPC.BACKBONE_DIR is empty"),
        ("TRAINER.DPC.BACKBONE_DIR /nowhere", "/nowhere"),
        ("TRAINER.DCP.TOPK 4", "TRAINER.DCP"),
        ("TRAINER.COOP.PREC fp8", "TRAINER.COOP.PREC is 'fp8'"),
        ("INPUT.SIZE (64,64)", 'set INPUT.SIZE "(32, 32)"'),
        ("MODEL.BACKBONE.PATH /nowhere.pt", "/nowhere.pt"),
        ("DATASET.SUBSAMPLE_CLASSES old", "DATASET.SUBSAMPLE_CLASSES is 'old'"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(
    command: list[str], tmp_path: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    coop = tmp_path / "coop"
    at = command.index("DATALOADER.TRAIN_X.BATCH_SIZE")
    coop_flags = ["--trainer", "CoOp", "--output-dir", str(coop)]
    train.run(
        train.parse_arguments([*command[1:at], *coop_flags, *command[at:], "base", "OPTIM.MAX_EPOCH", "1"])
    )
    flags = ["--trainer", "CoOp_DPC", "--output-dir", str(tmp_path / "dpc")]
    key, value = options.split(" ", 1)
    words = [*command[1:at], *flags, *command[at:], "base", "TRAINER.DPC.BACKBONE_DIR", str(coop), key, value]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        train.run(train.parse_arguments(words))
    assert message in str(caught.value)
    assert not (tmp_path / "dpc").exists()


def test_zero_shot_refuses_to_train(command: list[str], tmp_path: Path) -> None:
    process = start(command, "base", "--trainer", "ZeroshotCLIP", "--output-dir", str(tmp_path / "zs"))
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "--eval-only" in output and "Traceback" not in output


@pytest.mark.parametrize("plugin", ["dpc", "DPC", "Dpc"])
def test_a_plugin_by_name(plugin: str) -> None:
    words = ["--trainer", "MaPLe", "--plugin", plugin]
    assert train.setup_cfg(train.parse_arguments(words)).TRAINER.NAME == "MaPLe_DPC"


def test_an_unknown_plugin() -> None:
    args = train.parse_arguments(["--trainer", "MaPLe", "--plugin", "dcp"])
    with pytest.raises(ValueError, match=r"'MaPLe_dcp' is not registered .* Did you mean .*'MaPLe_DPC'"):
        train.build(train.setup_cfg(args))
