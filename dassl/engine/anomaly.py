"""Losses and tuned tensors that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch


class LossGuard:
    """Stops a run whose loss or tuned tensors are NaN or infinite, before anything is saved.

    Numbers and CPU tensors are checked at once; tensors on a GPU wait for ``flush``, since reading one makes
    the step wait for the device.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str, torch.Tensor]] = []

    def check(self, where: str, losses: Mapping[str, float | torch.Tensor]) -> None:
        """Check every entry with "loss" in its name; ``where`` says which step they belong to."""
        for name, value in losses.items():
            if "loss" not in name.lower():
                continue
            if isinstance(value, torch.Tensor):
                self._look_at(where, name, torch.isfinite(value.detach()).all())
            elif not math.isfinite(value):
                raise _error(where, name)

    def check_tuned(self, where: str, tensors: Iterable[torch.Tensor]) -> None:
        """Check what the step at ``where`` has moved."""
        largest = [torch.linalg.vector_norm(t.detach().float(), math.inf) for t in tensors if t.numel()]
        if largest:
            self._look_at(where, "What is tuned", torch.isfinite(torch.stack(largest)).all())

    def _look_at(self, where: str, name: str, finite: torch.Tensor) -> None:
        if finite.is_cuda:
            self._waiting.append((where, name, finite))
        elif not finite:
            raise _error(where, name)

    def flush(self) -> None:
        """Check what waits.

        Raises:
            FloatingPointError: a loss is NaN or infinite; the message names the first.
        """
        waiting, self._waiting = self._waiting, []
        if waiting and not all(flags := torch.stack([finite for _, _, finite in waiting]).tolist()):
            where, name, _ = waiting[flags.index(False)]
            raise _error(where, name)


def _error(where: str, name: str) -> FloatingPointError:
    return FloatingPointError(
        f"{name} is NaN or infinite in {where}. Nothing of this epoch is saved. Remedies: a lower OPTIM.LR, "
        "a longer OPTIM.WARMUP_EPOCH, or fp32 instead of fp16 or amp as the trainer's PREC"
    )
