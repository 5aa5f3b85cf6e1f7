"""Clocks and memory meters that mean the same on the CPU and on a GPU."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import time
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def now(device: torch.device) -> float:
    """Wall-clock time in seconds when all work so far is finished: a GPU is waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class PeakMemory:
    """The most memory in use since the meter was made, in bytes: of the process, or on the GPU.

    Only Linux keeps a process peak that can be reset; elsewhere it is the peak since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()  # models that are no longer used would count
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif _STATUS.exists():
            # what was freed but not handed back would count, and hide what is allocated in its place
            getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if _STATUS.exists():
            return _kilobytes(_STATUS, "VmHWM") * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _kilobytes(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name + ":"))
