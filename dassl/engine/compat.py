"""What only other people's trainers use of the engine: training with unlabelled images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from dassl.data import DatasetWrapper
from dassl.engine.loop import EpochTrainer


class _Endless:
    """The mini-batches of pass after pass over a loader, each with random draws of its own."""

    def __init__(self, loader: Any, epoch: int) -> None:
        self.loader, self.epoch, self.repeat = loader, epoch, 0
        self.batches = iter(loader)

    def __next__(self) -> Any:
        try:
            return next(self.batches)
        except StopIteration:
            self.repeat += 1
            dataset = self.loader.dataset
            if isinstance(dataset, DatasetWrapper) and dataset.has_epochs:
                dataset.set_epoch(self.epoch, self.repeat)
            self.batches = iter(self.loader)
            return next(self.batches)


class TrainerXU(EpochTrainer):
    """Trains on labelled and unlabelled images: a step takes a mini-batch of each.

    ``TRAIN.COUNT_ITER`` says how many steps an epoch has: as many as there are mini-batches in ``train_x``,
    in ``train_u`` or in the ``smaller_one``. A loader that ends before begins again.

    A subclass implements ``forward_backward(batch_x, batch_u)``.
    """

    train_loader_u: Any

    def prepare(self) -> None:
        """Raise a ``ValueError`` when there are no unlabelled images."""
        super().prepare()
        if self.train_loader_u is None:
            raise ValueError(
                f"DATASET.NAME {self.cfg.DATASET.NAME!r} has no unlabelled images (train_u), which "
                f"{type(self).__name__} trains on: choose one that has"
            )

    def count_batches(self) -> int:
        sizes = {"train_x": len(self.train_loader_x), "train_u": len(self.train_loader_u)}
        return sizes.get(self.cfg.TRAIN.COUNT_ITER, min(sizes.values()))

    def train_batches(self) -> Iterator[Any]:
        """Pairs of a labelled and an unlabelled mini-batch."""
        # Both passes begin before the first batch: the order of images is then Dassl's.
        labelled, unlabelled = (_Endless(x, self.epoch) for x in (self.train_loader_x, self.train_loader_u))
        for _ in range(self.count_batches()):
            yield next(labelled), next(unlabelled)

    def train_step(self, batch: Any) -> Any:
        return self.forward_backward(*batch)

    def forward_backward(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> Any:  # type: ignore[override]
        """One step of training; returns its losses and measures by name."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward_backward")

    def parse_batch_train(  # type: ignore[override]
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Labelled images [B, 3, H, W], their labels [B], and unlabelled images, on the device."""
        parts = (batch_x["img"], batch_x["label"], batch_u["img"])
        input_x, label_x, input_u = (self._to_device(part) for part in parts)
        return input_x, label_x, input_u
