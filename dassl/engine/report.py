"""What an evaluation leaves behind: a line of ``results.jsonl`` and, on request, ``logits.npz``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from dassl.config import CfgNode, Options, config_hash
from dassl.data.datasets import DatasetBase, chosen_subset
from dassl.metrics import Bin
from dassl.utils import atomic_path, git_commit, mkdir_if_missing

logger = logging.getLogger(__name__)


def append_result(
    cfg: CfgNode,
    options: Options,
    dataset: DatasetBase | None,
    split: str,
    epoch: int | None,
    results: Mapping[str, float],
    origin: Mapping[str, Any],
    reliability: Sequence[Bin] | None = None,
    once: bool = False,
) -> None:
    """Append a line to ``<OUTPUT_DIR>/results.jsonl``.

    Args:
        options: what trainer and data sets add to the settings.
        dataset: the data set; other people's trainers may keep none.
        epoch: epochs of training behind the weights; None when unknown.
        origin: what else is known of the weights, and of the classes where those are not what ``cfg`` says.
        reliability: number of images, mean confidence and accuracy, by bins of confidence.
        once: leave it out where the same is there already, but for its time: a resumed run may repeat itself.
    """
    record = {
        "method": cfg.TRAINER.NAME,
        "dataset": getattr(dataset, "name", cfg.DATASET.NAME),
        "split": split,
        "subsample_classes": chosen_subset(cfg, dataset),
        "shots": cfg.DATASET.NUM_SHOTS,
        "seed": cfg.SEED,
        "epoch": epoch,
        **origin,
        "metrics": {name: _plain(value) for name, value in results.items()},
        **({} if reliability is None else {"reliability": reliability}),
        "config_hash": config_hash(cfg, options),
        "git_commit": git_commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    mkdir_if_missing(cfg.OUTPUT_DIR)
    path = os.path.join(cfg.OUTPUT_DIR, "results.jsonl")
    if once and _has(path, record):
        return
    with open(path, "ab") as file:
        end = file.tell()
        try:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
        except OSError:
            file.truncate(end)  # no half line on a full disk
            raise


def _has(path: str, record: Mapping[str, Any]) -> bool:
    """Whether a results.jsonl has the same record of another time or commit."""
    if not os.path.isfile(path):
        return False
    written = json.loads(json.dumps(record))  # tuples are lists there
    with open(path, encoding="utf-8", errors="replace") as file:
        return any(_same(line, written) for line in file)


def _same(line: str, record: Mapping[str, Any]) -> bool:
    try:
        other = json.loads(line)
    except (ValueError, RecursionError):
        return False
    apart = ("time", "git_commit")
    return isinstance(other, dict) and {**other, **{key: record[key] for key in apart}} == record


def _plain(value: Any) -> float | int:
    return value if isinstance(value, int) else float(value)


class LogitRecorder:
    """Collects the logits of an evaluation."""

    def __init__(self) -> None:
        self._impaths: list[str] = []
        self._labels: list[np.ndarray] = []
        self._logits: list[np.ndarray] = []

    def add(self, impaths: Sequence[str], labels: torch.Tensor, logits: torch.Tensor) -> None:
        """Add one batch: paths and labels [B], logits [B, C]."""
        self._impaths.extend(impaths)
        self._labels.append(labels.cpu().numpy().astype(np.int64))
        self._logits.append(logits.float().cpu().numpy())

    def write(self, fpath: str, root: str, classnames: Sequence[str]) -> None:
        """Write ``impath`` (relative to ``root`` when below it), ``label``, ``logits`` and ``classnames``."""
        with atomic_path(fpath) as path, open(path, "wb") as file:
            np.savez_compressed(
                file,
                impath=np.array([_below(path, root) for path in self._impaths]),
                label=np.concatenate(self._labels),
                logits=np.concatenate(self._logits),
                classnames=np.array(list(classnames)),
            )
        logger.info("Logits saved to %s", fpath)


def _below(path: str, root: str) -> str:
    relative = os.path.relpath(path, os.path.expanduser(root)) if root else path
    return path if relative.startswith(os.pardir) else relative
