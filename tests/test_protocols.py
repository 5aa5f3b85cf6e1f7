"""Cross-dataset transfer from digits to letters as the scripts run it, with the demo model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import parse_test_res

ROOT = Path(__file__).resolve().parent.parent
# one epoch that moves the prompts: without the first epoch's tiny learning rate
OPTIONS = "OPTIM.MAX_EPOCH 1 OPTIM.WARMUP_EPOCH 0 OPTIM.LR 1.0 DATALOADER.TRAIN_X.BATCH_SIZE 4"


class Scripts:
    """Runs scripts on the demo's data."""

    def __init__(self, root: Path):
        self.output = root / "output"
        settings = {
            "DATA": root / "data",
            "OUTPUT": self.output,
            "PYTHON": sys.executable,
            "OPTIONS": OPTIONS,
            "SHOTS": 2,
        }
        unset = ("CFG", "BACKBONE_CFG", "LOADEP", "VARIANT")
        self.environment = {key: word for key, word in os.environ.items() if key not in unset}
        self.environment |= {key: str(setting) for key, setting in settings.items()}

    def run(self, script: str, *words: str) -> None:
        command = ["bash", str(ROOT / "scripts" / script), *words]
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr

    def accuracy(self, folder: str) -> float:
        (line,) = (self.output / folder / "results.jsonl").read_text().splitlines()
        return json.loads(line)["metrics"]["accuracy"]


@pytest.fixture
def scripts(tmp_path, monkeypatch) -> Scripts:
    monkeypatch.chdir(ROOT)
    return Scripts(tmp_path)


def test_from_digits_to_letters(scripts, capsys):
    scripts.run("dpc/xd_train.sh", "1", "digits")  # CoOp's training as well
    for method in ("coop", "dpc"):
        scripts.run(f"{method}/xd_test.sh", "letters", "1", "digits")
    scripts.run("zsclip/xd_test.sh", "letters", "1")

    coop, dpc = (
        [
            scripts.accuracy(f"xd/{folder}/seed1")
            for folder in (
                f"train/digits/shots_2/{run}",
                f"test/letters/shots_2/{run}-from-digits",
            )
        ]
        for run in ("CoOp/demo", "CoOp_DPC/demo-released")
    )
    zero_shot = scripts.accuracy("xd/test/letters/shots_2/ZeroshotCLIP/demo/seed1")
    assert dpc[0] != coop[0]  # the source's classes get w_b
    assert dpc[1] == pytest.approx(
        coop[1], abs=0.12
    )  # all others w_n: the backbone's prompt, but for one image
    assert abs(coop[1] - zero_shot) > 0.5  # which is another prompt than the one that training started from

    capsys.readouterr()
    assert parse_test_res.main([str(scripts.output), "--xd", "--format", "csv"]) == 0
    header, *lines = (line.split(",") for line in capsys.readouterr().out.splitlines())
    table = {line[header.index("method")]: line for line in lines}
    for method, numbers in (("CoOp", coop), ("CoOp + DPC (released)", dpc)):
        for name, number in zip(("source_accuracy", "Letters"), numbers, strict=True):
            assert float(table[method][header.index(name)]) == pytest.approx(number)
