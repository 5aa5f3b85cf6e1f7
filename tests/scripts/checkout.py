"""A copy of the scripts beside small configurations, with a stub for the interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Stands for "$PYTHON train.py ...": records its words, and leaves behind what a run of train.py leaves.
# A check of data is recorded, too. Whatever else it is asked to do, the true interpreter does.
STUB = f"""#!{sys.executable}
import json, os, pathlib, sys
checks = sys.argv[1:3] == ["-m", "datasets.prepare"]
if sys.argv[1] != "train.py" and not checks:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
words = sys.argv[2:]
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(words) + "\\n")
if checks:
    sys.exit(int(os.environ.get("STUB_CHECK", 0)))
value = lambda name: words[words.index(name) + 1]
trainer = value("--trainer")
if trainer == os.environ.get("STUB_FAILS"):
    sys.exit(7)
out = pathlib.Path(value("--output-dir"))
out.mkdir(parents=True, exist_ok=True)
if "--eval-only" not in words:
    (out / "prompt_learner").mkdir(exist_ok=True)
    if trainer == os.environ.get("STUB_KILLED"):
        (out / "resume.pth.tar").touch()
        sys.exit(137)
    (out / "resume.pth.tar").unlink(missing_ok=True)
    (out / "prompt_learner" / "checkpoint").write_text("model.pth.tar-5\\n")
(out / "log.txt").write_text("arguments: " + " ".join(words) + "\\n")
dataset = value("--dataset-config-file").split("/")[-1][:-5].title()
if "DATASET.DIR" in words:
    dataset = pathlib.Path(value("DATASET.DIR")).stem
with open(out / "results.jsonl", "a") as file:
    record = {{"method": trainer, "dataset": dataset}}
    record |= {{"split": "test", "subsample_classes": value("DATASET.SUBSAMPLE_CLASSES"), "shots": 16}}
    record |= {{"seed": int(value("--seed")), "metrics": {{"accuracy": 50.0}}, "time": "2026-01-01"}}
    file.write(json.dumps(record) + "\\n")
"""


class Checkout:
    """A copy of scripts/ with configurations of the names that the tests use."""

    def __init__(self, root: Path):
        self.root = root / "checkout"
        self.calls_file = root / "calls.jsonl"
        shutil.copytree(REPOSITORY / "scripts", self.root / "scripts")
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
        self.stub = root / "python-stub"
        self.stub.write_text(STUB)
        self.stub.chmod(0o755)

    def run(self, script: str, *words: str, cwd: Path | None = None, **environment: str):
        env = {
            k: v
            for k, v in os.environ.items()
            if k not in ("DATA", "OUTPUT", "CFG", "SHOTS", "LOADEP", "PRESET")
        }
        env |= {"PYTHON": str(self.stub), "CALLS": str(self.calls_file)} | environment
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
