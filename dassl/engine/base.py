"""The loop over epochs, and the parts of a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from dassl.config import CfgNode
from dassl.engine.anomaly import LossGuard
from dassl.engine.curves import Tracker
from dassl.engine.models import ModelKeeper, Names
from dassl.utils.interrupt import check_interrupt
from dassl.utils.processes import is_main

__all__ = ["Names", "SummaryWriter", "TrainerBase"]


class SummaryWriter:
    """torch's writer of TensorBoard files, which need not be installed before one is made."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        from torch.utils.tensorboard import SummaryWriter as Writer  # an optional dependency

        return Writer(*args, **kwargs)


class TrainerBase(ModelKeeper):
    """Iterates over epochs; keeps models with their optimisers and learning-rate schedulers by name.

    A subclass implements ``run_epoch`` and may override the hooks around it.

    Attributes:
        epoch: the current epoch, from 0.
        start_epoch, max_epoch: the range of epochs of this run.
        best_result: the best validation result so far.
        at_start: called when all checks of a training are passed, before its first file is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writer: Any = None
        self._guard = LossGuard()
        self.start_epoch = self.epoch = self.max_epoch = 0
        self.batch_idx = self.num_batches = 0
        self.best_result: float = -np.inf
        self.output_dir = ""
        self.at_start: Callable[[], None] = lambda: None

    # The loop

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Train epochs ``start_epoch`` to ``max_epoch - 1``; ``before_train`` may move the start."""
        self.start_epoch, self.max_epoch = start_epoch, max_epoch
        self.before_train()
        self.at_start()
        kept = self.start_epoch  # epochs that a run can go on after
        try:
            if not self.start_epoch:  # a checkpoint is never there without it
                self.save_resume_point(0)
            for epoch in range(self.start_epoch, self.max_epoch):
                self.epoch = epoch
                self.before_epoch()
                self.run_epoch()
                self.epochs_trained = self.epoch + 1
                self.after_epoch()
                self.save_resume_point()
                kept = epoch + 1
        except Exception:
            check_interrupt()  # a loading process that Ctrl-C ended is no error
            if not kept:  # nothing to go on from: other settings may come next
                self.remove_resume_point()
            raise
        self.after_train()
        self.remove_resume_point()

    def before_train(self) -> None:
        """Called once, before the first epoch."""

    def after_train(self) -> None:
        """Called once, after the last epoch."""

    def before_epoch(self) -> None:
        """Called before every epoch."""

    def after_epoch(self) -> None:
        """Called after every epoch."""

    def save_resume_point(self, epochs: int | None = None) -> None:
        """Called before the first epoch and after every ``after_epoch``: store what a resumed run needs.

        Args:
            epochs: how many are behind it; None: the current one and those before.
        """

    def remove_resume_point(self) -> None:
        """Called at the very end."""

    def run_epoch(self) -> None:
        """Train one epoch."""
        raise NotImplementedError

    def test(self, split: str | None = None) -> float:
        """Evaluate the current weights."""
        raise NotImplementedError

    def parse_batch_train(self, batch: dict[str, Any]) -> Any:
        """The tensors of a training batch, on the device."""
        raise NotImplementedError

    def parse_batch_test(self, batch: dict[str, Any]) -> Any:
        """The tensors of a test batch, on the device."""
        raise NotImplementedError

    def forward_backward(self, batch: dict[str, Any]) -> Mapping[str, float | torch.Tensor] | None:
        """One step of training; returns its losses and measures by name, numbers or 0-d tensors."""
        raise NotImplementedError

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of a batch of images."""
        raise NotImplementedError

    # The step

    def update_lr(self, names: Names = None) -> None:
        """Move the learning-rate schedulers on by one epoch."""
        for name in self.get_model_names(names):
            if (sched := self._scheds[name]) is not None:
                sched.step()

    def get_current_lr(self, names: Names = None) -> float:
        """Learning rate of the first parameter group of the first model."""
        optim = self._optims[self.get_model_names(names)[0]]
        return float("nan") if optim is None else float(optim.param_groups[0]["lr"])

    def detect_anomaly(self, loss: torch.Tensor) -> None:
        """Raise a ``FloatingPointError`` when the loss is not finite; on a GPU at the next progress line."""
        self._guard.check(self.where(), {"loss": loss})

    def tuned_tensors(self) -> Iterable[torch.Tensor]:
        """What the optimisers move."""
        for optim in self._optims.values():
            for group in optim.param_groups if optim is not None else ():
                yield from group["params"]

    def where(self) -> str:
        """The current step, for messages."""
        epoch = f"epoch {self.epoch + 1}/{self.max_epoch}"
        return f"{epoch}, batch {self.batch_idx + 1}/{self.num_batches}"

    def model_zero_grad(self, names: Names = None) -> None:
        """Forget the gradients."""
        for name in self.get_model_names(names):
            if (optim := self._optims[name]) is not None:
                optim.zero_grad()

    def model_backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a finite loss."""
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: Names = None) -> None:
        """One step of the optimisers."""
        for name in self.get_model_names(names):
            if (optim := self._optims[name]) is not None:
                optim.step()

    def model_backward_and_update(self, loss: torch.Tensor, names: Names = None) -> None:
        """Forget old gradients, compute new ones, step."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    # Curves

    def init_writer(self, log_dir: str) -> None:
        """Start writing curves to ``log_dir``, unless that has been done; the main process does."""
        if self._writer is None and is_main():
            self._writer = SummaryWriter(log_dir=log_dir)

    def init_tracker(self, name: str, cfg: CfgNode) -> None:
        """The same through `Tracker`, with the package ``name``."""
        if self._writer is None and is_main():
            self._writer = Tracker(name, cfg)

    def close_writer(self) -> None:
        """Stop writing curves."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Add a point to a curve, when curves are written."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)
