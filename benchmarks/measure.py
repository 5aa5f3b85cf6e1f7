"""What a training step costs: time, arithmetic, memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from statistics import fmean, median
from typing import NamedTuple

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.meters import PeakMemory, Stopwatch


class Cost(NamedTuple):
    """Of one path of one case."""

    seconds: float  # median
    text_seconds: float  # median of what of it the text tower takes, forward and backward
    flops: float  # mean of the floating-point operations in matrix products; no noise, whatever else runs
    peak_bytes: float
    pairs: float  # mean of L, the image-text pairs of a step
    scaled_from: int | None = None  # classes it was measured with, where not with all


def measure(step: Callable[[], int], steps: int, warmup: int, clock: Stopwatch) -> Cost:
    """Cost of ``step``, which returns its L; ``clock`` is on while the text tower runs."""
    memory = PeakMemory(clock.device)
    on_cpu = clock.device.type == "cpu"
    times, text_times, flops, pairs = [], [], [], []
    for i in range(warmup + steps):
        timed = i >= warmup
        # Counting takes some microseconds an operation: nothing on a CPU; a GPU is measured without it. The
        # first step may hold work of all others.
        counted = timed if on_cpu else 1 <= i < warmup
        counter = FlopCounterMode(display=False)
        clock.reset()
        started = clock.now()
        with counter if counted else nullcontext():
            size = step()
        seconds = clock.now() - started
        if timed:
            times.append(seconds)
            text_times.append(clock.total)
            pairs.append(size)
        if counted:
            flops.append(counter.get_total_flops())
    return Cost(median(times), median(text_times), fmean(flops), memory.peak(), fmean(pairs))


def scaled_up(half: Cost, full: Cost, measured: int, classes: int) -> Cost:
    """Cost with more classes: the text tower's work and what autograd keeps for it grow with them.

    Args:
        half, full: measured with ``measured // 2`` and ``measured`` classes.
    """

    def line(few: float, many: float) -> float:
        return many + (many - few) / (measured - measured // 2) * (classes - measured)

    text = full.text_seconds * classes / measured
    return Cost(
        seconds=full.seconds - full.text_seconds + text,
        text_seconds=text,
        flops=line(half.flops, full.flops),
        peak_bytes=line(half.peak_bytes, full.peak_bytes),
        pairs=full.pairs,
        scaled_from=measured,
    )
