"""A copy of the scripts beside small configurations, with a stub for the interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WRAPPER = 'source "$(dirname "${BASH_SOURCE[0]}")/../experiment.sh" "$@"'  # all that a method's script does

# Stands for train.py: records its words, and leaves behind what a run of train.py leaves.
TRAIN = """
import json, os, pathlib, sys


def main():
    words = sys.argv[1:]
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps(words) + "\\n")
    value = lambda name: words[words.index(name) + 1]
    trainer = value("--trainer")
    if trainer == os.environ.get("STUB_FAILS"):
        print(f"{trainer} says why")
        return 7
    out = pathlib.Path(value("--output-dir"))
    out.mkdir(parents=True, exist_ok=True)
    if "--eval-only" not in words:
        (out / "prompt_learner").mkdir(exist_ok=True)
        if trainer == os.environ.get("STUB_KILLED"):
            (out / "resume.pth.tar").touch()
            return 137
        (out / "resume.pth.tar").unlink(missing_ok=True)
        (out / "prompt_learner" / "checkpoint").write_text("model.pth.tar-5\\n")
    (out / "log.txt").write_text("arguments: " + " ".join(words) + "\\n")
    dataset = value("--dataset-config-file").split("/")[-1][:-5].title()
    if "DATASET.DIR" in words:
        dataset = pathlib.Path(value("DATASET.DIR")).stem
    with open(out / "results.jsonl", "a") as file:
        record = {"method": trainer, "dataset": dataset}
        record |= {"split": "test", "subsample_classes": value("DATASET.SUBSAMPLE_CLASSES"), "shots": 16}
        record |= {"seed": int(value("--seed")), "metrics": {"accuracy": 50.0}, "time": "2026-01-01"}
        file.write(json.dumps(record) + "\\n")
    return 0
"""
# Stands for datasets/prepare.py: a check of data is recorded, too.
PREPARE = """
import json, os, sys

with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ.get("STUB_CHECK", 0)))
"""


class Checkout:
    """A copy of scripts/ with configurations of the names that the tests use."""

    def __init__(self, root: Path):
        self.root = root / "checkout"
        self.calls_file = root / "calls.jsonl"
        for name in ("scripts", "experiments"):
            shutil.copytree(REPOSITORY / name, self.root / name)
        (self.root / "datasets").mkdir()
        (self.root / "datasets/prepare.py").write_text(PREPARE)
        (self.root / "train.py").write_text(TRAIN)
        (self.root / "configs").mkdir()
        shutil.copy(REPOSITORY / "configs/protocols.txt", self.root / "configs")
        configs = ["datasets/eurosat", "datasets/digits", "datasets/folder", "trainers/ZeroshotCLIP/vit_b16"]
        configs += ["trainers/CoOp/vit_b16_ctxv1", "trainers/CoOp/vit_b16_ep20_lr35"]
        configs += ["trainers/CoOp/demo", "trainers/CoOp/other"]
        configs += ["trainers/CoOp_DPC/vit_b16_ep20", "trainers/CoOp_DPC/demo", "trainers/CoOp_DPC/released"]
        for name in configs:
            path = self.root / "configs" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def run(self, script: str, *words: str, cwd: Path | None = None, **environment: str):
        env = {
            k: v
            for k, v in os.environ.items()
            if k not in ("DATA", "OUTPUT", "CFG", "SHOTS", "LOADEP", "PRESET")
        }
        env |= {"PYTHON": sys.executable, "CALLS": str(self.calls_file)} | environment
        command = ["bash", str(self.root / "scripts" / script), *words]
        return subprocess.run(
            command, capture_output=True, text=True, env=env, cwd=cwd or self.root, timeout=60
        )

    @property
    def calls(self) -> list[list[str]]:
        """The words of each call of train.py so far."""
        if not self.calls_file.exists():
            return []
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]


def value(call: list[str], name: str) -> str:
    """The word behind an option."""
    return call[call.index(name) + 1]
