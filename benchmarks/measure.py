"""What a training step costs: time, arithmetic, memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from statistics import fmean, median
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.meters import PeakMemory, now


class Cost(NamedTuple):
    """Of one path of one case."""

    seconds: float  # median
    flops: float  # mean of the floating-point operations in matrix products; no noise, whatever else runs
    text_flops: float  # mean of what of it is the text towers', forward and backward
    peak_bytes: float
    pairs: float  # mean of L, the image-text pairs of a step
    scaled_from: int | None = None  # classes it was measured with, where not with all


def machine(device: str) -> str:
    """What ``device``, cpu or cuda, is here."""
    return f"{torch.get_num_threads()} CPU threads" if device == "cpu" else torch.cuda.get_device_name()


def measure(step: Callable[[], int], steps: int, warmup: int, device: torch.device) -> Cost:
    """Cost of ``step``, which returns its L."""
    memory = PeakMemory(device)
    on_cpu = device.type == "cpu"
    times, flops, text_flops, pairs = [], [], [], []
    for i in range(warmup + steps):
        timed = i >= warmup
        # Counting takes some microseconds an operation: nothing on a CPU; a GPU is measured without it. The
        # first step may hold work of all others.
        counted = timed if on_cpu else 1 <= i < warmup
        counter = FlopCounterMode(display=False)
        started = now(device)
        with counter if counted else nullcontext():
            size = step()
        seconds = now(device) - started
        if timed:
            times.append(seconds)
            pairs.append(size)
        if counted:
            flops.append(counter.get_total_flops())
            text_flops.append(_without_image_towers(counter))
    return Cost(median(times), fmean(flops), fmean(text_flops), memory.peak(), fmean(pairs))


def _without_image_towers(counter: FlopCounterMode) -> int:
    """All but the image towers' operations: the text towers', the rest (logits above all) being little.

    Not counted by the text tower itself, whose backward pass would be held to last as long as any user of its
    deep prompts' gradients: in MaPLe the image tower too.
    """
    towers = counter.get_flop_counts().get("VisionTransformer", {})
    return counter.get_total_flops() - sum(towers.values())


def scaled_up(half: Cost, full: Cost, measured: int, classes: int) -> Cost:
    """Cost with more classes: the text tower's work and what autograd keeps for it grow with them.

    Time is taken to grow as the arithmetic does.

    Args:
        half, full: measured with ``measured // 2`` and ``measured`` classes.
    """

    def line(few: float, many: float) -> float:
        return many + (many - few) / (measured - measured // 2) * (classes - measured)

    flops = line(half.flops, full.flops)
    return Cost(
        seconds=full.seconds * flops / full.flops,
        flops=flops,
        text_flops=line(half.text_flops, full.text_flops),
        peak_bytes=line(half.peak_bytes, full.peak_bytes),
        pairs=full.pairs,
        scaled_from=measured,
    )
