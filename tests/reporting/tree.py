"""Folders of runs as train.py leaves them, with nothing run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LOG = """Loading trainer {trainer}
arguments: --root data --seed {seed} --trainer {trainer} {words}
settings:
DATASET:
  NAME: {dataset}
  NUM_SHOTS: 16
  TEMPLATE: 
OPTIM:
  LR: {rate}
  STEPSIZE: (-1,)
SEED: {seed}
machine:
OS: Linux
PyTorch: {torch}
CPU cores: 2, torch threads: 1
300 decoded images in memory (1 MB), 300 wanted
"""  # noqa: W291 - an empty setting ends in a blank, as yacs prints it


def progress(epoch: int, batch: int, loss: float | str, rate: float = 0.002) -> str:
    """A line of progress of 4 epochs with 20 batches; the loss of the last batch is another one."""
    place = f"epoch [{epoch}/4] batch [{batch}/20] time 0.012 (0.018) data 0.005 (0.008)"
    return f"{place} loss 9.0000 ({loss}) acc 99.0000 (75.0000) lr {rate:.4e} eta 0:00:00\n"


def class_lines(classes: dict[str, tuple[int, int]]) -> str:
    """The block of TEST.PER_CLASS_RESULT: images and correct ones by class."""
    lines = [
        f"* class: {i} ({name})\ttotal: {total:,}\tcorrect: {correct:,}\tacc: {100 * correct / total:.2f}%\n"
        for i, (name, (total, correct)) in enumerate(classes.items())
    ]
    return "=> result\n* accuracy: 50.00%\n=> per-class result\n" + "".join(lines)


def write_full_run(
    root: Path,
    place: str,
    trainer: str,
    seed: int,
    accuracy: float | None,
    *,
    dataset: str = "EuroSAT",
    subset: str = "all",
    shots: int = 16,
    cfg: str = "demo",
    log: str = "",
    rate: float = 0.002,
    torch: str = "2.13.0",
    words: str = "",
    **record: Any,
) -> Path:
    """A run with its log, ``log`` behind its beginning; without an accuracy it is unfinished."""
    folder = root / place / f"shots_{shots}" / trainer / cfg / f"seed{seed}"
    folder.mkdir(parents=True)
    values = {"dataset": dataset, "rate": rate, "torch": torch, "words": words}
    (folder / "log.txt").write_text(LOG.format(trainer=trainer, seed=seed, **values) + log)
    if accuracy is not None:
        line = {"method": trainer, "dataset": dataset, "split": "test", "subsample_classes": subset}
        line |= {"shots": shots, "seed": seed, "epoch": 4, "metrics": {"accuracy": accuracy}}
        line |= {"config_hash": "abc", "git_commit": "c0ffee", "time": "2026-01-01T00:00:00"}
        (folder / "results.jsonl").write_text(json.dumps(line | record) + "\n")
    return folder


def write_base_new(root: Path, trainer: str, seed: int, pair: Sequence[float], **more: Any) -> list[Path]:
    """A training on base classes and a test on new ones."""
    name = more.get("dataset", "EuroSAT").lower()
    return [
        write_full_run(root, f"base2new/{part}/{name}", trainer, seed, accuracy, subset=subset, **more)
        for part, subset, accuracy in zip(("train_base", "test_new"), ("base", "new"), pair, strict=True)
    ]


def write_logits(folder: Path, **arrays: Any) -> None:
    np.savez_compressed(folder / "logits.npz", **arrays)
