"""Which of a run's processes this is, as ``torchrun`` says it in the environment."""

from __future__ import annotations

import os


def world_size() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process, from 0. ``RANK`` may be left over from elsewhere: a process alone is 0."""
    return int(os.environ.get("RANK", 0)) if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this process writes the run's files, and speaks for all."""
    return rank() == 0


def processes_here() -> int:
    """How many of the run's processes share this machine."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1))) if world_size() > 1 else 1
