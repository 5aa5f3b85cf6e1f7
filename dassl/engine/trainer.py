"""A trainer on labelled images, and under their public names those that it stands on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from dassl.engine.base import SummaryWriter, TrainerBase
from dassl.engine.compat import TrainerXU
from dassl.engine.loop import EpochTrainer
from dassl.engine.simple import SimpleTrainer
from dassl.modeling import SimpleNet

__all__ = ["SimpleNet", "SimpleTrainer", "SummaryWriter", "TrainerBase", "TrainerX", "TrainerXU"]


class TrainerX(EpochTrainer):
    """Trains on labelled images: an epoch is one pass over ``train_loader_x``.

    A subclass implements ``build_model`` and ``forward_backward``; the latter calls ``update_lr`` after the
    last batch.
    """

    def count_batches(self) -> int:
        return len(self.train_loader_x)

    def train_batches(self) -> Iterable[Any]:
        """The mini-batches of an epoch, ``len(self.train_loader_x)`` of them."""
        return self.train_loader_x

    def train_step(self, batch: Any) -> Any:
        return self.forward_backward(batch)

    def forward_backward(self, batch: dict[str, Any]) -> Mapping[str, float | torch.Tensor] | None:
        raise NotImplementedError(f"{type(self).__name__} must implement forward_backward")

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """Images [B, 3, H, W], labels [B] and domains [B] on the device."""
        return tuple(self._to_device(batch[key]) for key in ("img", "label", "domain"))
