"""How long runs will take on this machine, by a few steps of each: for ``python -m experiments fit``.

    python -m benchmarks.fit_time '[{"folder": ..., "words": [...], "trains": true}, ...]'

The words are train.py's. A run whose words name the folder of an earlier one builds on it: it gets an
untrained one in its place. The last line that is printed is JSON: seconds in all without the start of the
runs' processes, what the machine is, and how many seconds it took to find this out.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch

import train
from benchmarks.measure import machine
from dassl.data.loader import num_workers

STEPS = 3
IMAGES = 32  # of a test, about


def seconds_of(words: Sequence[str], trains: bool) -> tuple[float, Any]:
    """What the run of these words will take, and its trainer, behind a few steps."""
    started = time.monotonic()
    trainer = train.build(train.setup_cfg(train.parse_arguments(list(words))))
    built = time.monotonic() - started
    if not trains:
        return built + _of_test(trainer), trainer
    trainer.before_train()
    trainer.epoch = trainer.start_epoch
    trainer.before_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = trainer.count_batches()
    marks = [time.monotonic()]
    for number, batch in enumerate(islice(trainer.train_batches(), STEPS + 1)):
        trainer.batch_idx = number
        trainer.train_step(batch)
        if trainer.device.type == "cuda":
            torch.cuda.synchronize()
        marks.append(time.monotonic())
    first, rest = marks[1] - marks[0], [b - a for a, b in pairwise(marks[1:])]
    step = sorted(rest)[len(rest) // 2] if rest else first
    steps = trainer.num_batches * (trainer.max_epoch - trainer.start_epoch)
    return built + first + step * max(steps - 1, 0) + _of_test(trainer), trainer


@torch.no_grad()
def _of_test(trainer: Any) -> float:
    """Seconds of going through the validation and test images once."""
    files = [item.impath for item in (*trainer.dm.dataset.test, *trainer.dm.dataset.val_full)]
    count = len(files)
    some = files[:: -(-count // IMAGES)]
    started = time.monotonic()
    for path in some:
        trainer.dm.tfm_test(trainer.dm.cache.load(path))
    reading = (time.monotonic() - started) * count / len(some) / max(num_workers(trainer.cfg), 1)
    images = torch.randn(min(count, IMAGES), 3, *trainer.cfg.INPUT.SIZE, device=trainer.device)
    started = time.monotonic()
    trainer.start_test("test")
    text = time.monotonic() - started
    started = time.monotonic()
    trainer.model_inference(images).cpu()
    return reading + text + (time.monotonic() - started) * count / len(images)


def estimate(order: Sequence[dict[str, Any]], scratch: Path) -> tuple[float, str]:
    """Seconds of all runs, and the machine."""
    total, places = 0.0, {run["folder"]: str(scratch / str(i)) for i, run in enumerate(order)}
    trainer: Any = None
    for run in order:
        words = [places.get(word, word) for word in run["words"]]
        seconds, trainer = seconds_of(words, run["trains"])
        total += seconds
        if run["trains"]:
            trainer.save_model(trainer.max_epoch - 1, places[run["folder"]])
    device = trainer.device.type
    return total, machine(device)


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)

    def run() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            started = time.monotonic()
            found = estimate(json.loads(sys.argv[1]), Path(scratch))
            print(json.dumps([*found, time.monotonic() - started]))

    return train.report_errors(run)


if __name__ == "__main__":
    sys.exit(main())
