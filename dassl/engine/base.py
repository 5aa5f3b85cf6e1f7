"""The loop over epochs, and the models, optimisers and checkpoints of a trainer."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from dassl.engine.anomaly import LossGuard
from dassl.engine.checkpoint import find_checkpoint
from dassl.utils import check_state_dict, latest_checkpoint, load_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)

Names = str | Iterable[str] | None


class TrainerBase:
    """Iterates over epochs; keeps models with their optimisers and learning-rate schedulers by name.

    A subclass implements ``run_epoch`` and may override the hooks around it.

    Attributes:
        epoch: the current epoch, from 0.
        start_epoch, max_epoch: the range of epochs of this run.
        epochs_trained: epochs of training behind the current weights; None when unknown, such as after a
            ``load_model`` of a subclass that does not set it.
        best_result: the best validation result so far.
    """

    def __init__(self) -> None:
        self._models: dict[str, nn.Module] = OrderedDict()
        self._optims: dict[str, Optimizer | None] = OrderedDict()
        self._scheds: dict[str, Any] = OrderedDict()
        self._writer: Any = None
        self._guard = LossGuard()
        self.start_epoch = self.epoch = self.max_epoch = 0
        self.epochs_trained: int | None = None
        self.batch_idx = self.num_batches = 0
        self.best_result: float = -np.inf
        self.output_dir = ""

    # Models

    @property
    def optims(self) -> dict[str, Optimizer | None]:
        """The optimiser of each model, None where there is none."""
        return self._optims

    @property
    def scheds(self) -> dict[str, Any]:
        """The learning-rate scheduler of each model, None where there is none."""
        return self._scheds

    def register_model(
        self, name: str = "model", model: Any = None, optim: Optimizer | None = None, sched: Any = None
    ) -> None:
        """Add a model. Its name is the folder of its checkpoints.

        Raises:
            AttributeError: called before ``super().__init__()``.
            ValueError: the name is taken.
        """
        if "_models" not in vars(self):
            raise AttributeError("Call super().__init__() before register_model()")
        if name in self._models:
            raise ValueError(f"A model {name!r} is already registered")
        self._models[name], self._optims[name], self._scheds[name] = model, optim, sched

    def get_model_names(self, names: Names = None) -> list[str]:
        """The names of all models, or ``names`` as a list.

        Raises:
            ValueError: a name is not registered.
        """
        if names is None:
            return list(self._models)
        names = [names] if isinstance(names, str) else list(names)
        if unknown := [name for name in names if name not in self._models]:
            raise ValueError(f"No model is registered as {unknown}; there are {list(self._models)}")
        return names

    def set_model_mode(self, mode: str = "train", names: Names = None) -> None:
        """Set models to ``train``, or to ``eval`` (also called ``test``)."""
        if mode not in ("train", "eval", "test"):
            raise ValueError(f"mode must be train, eval or test, got {mode!r}")
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    # What is stored of a model

    def model_state_dict(self, name: str) -> Mapping[str, torch.Tensor]:
        """What is stored of the model ``name``. Override it together with ``load_model_state_dict``."""
        return self._models[name].state_dict()

    def load_model_state_dict(self, name: str, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Take over stored weights, which must have the keys and shapes of ``model_state_dict``.

        Raises:
            ValueError: a key is missing, unknown or has a wrong shape.
        """
        check_state_dict(state_dict, self.model_state_dict(name), source=name)
        self._models[name].load_state_dict({**self._models[name].state_dict(), **state_dict})

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Further entries of the checkpoints of the model ``name``: tensors and plain values."""
        return {}

    def checkpoint_origin(self) -> dict[str, Any]:
        """Entries of every checkpoint that say which run wrote it."""
        return {}

    def resume_state_dict(self, name: str) -> dict[str, torch.Tensor]:
        """What the resume file holds of the model ``name``: its state without the frozen parameters.

        Those are the same whenever the model is built; a trainer that changes them must override this.
        """
        model = self._models[name]
        frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
        return {key: value for key, value in model.state_dict().items() if key not in frozen}

    def load_resume_state_dict(self, name: str, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Take over what ``resume_state_dict`` gave.

        Raises:
            ValueError: a key is missing, unknown or has a wrong shape.
        """
        check_state_dict(state_dict, self.resume_state_dict(name), source=name)
        self._models[name].load_state_dict({**self._models[name].state_dict(), **state_dict})

    def extra_state(self) -> dict[str, Any]:
        """What else the rest of a run depends on, for the resume file: tensors and plain values."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore ``extra_state``."""

    # Checkpoints

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write ``<directory>/<name>/model.pth.tar-<epoch + 1>`` (or ``model_name``) for every model."""
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            state = {
                "state_dict": self.model_state_dict(name),
                "epoch": epoch + 1,
                "optimizer": None if optim is None else optim.state_dict(),
                "scheduler": None if sched is None else sched.state_dict(),
                "val_result": None if val_result is None else float(val_result),
                **self.checkpoint_origin(),
                **self.checkpoint_extras(name),
            }
            save_checkpoint(state, os.path.join(directory, name), is_best=is_best, model_name=model_name)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the checkpoints of all models.

        Args:
            directory: output folder of the run that wrote them; empty: nothing is loaded.
            epoch: see ``dassl.utils.find_checkpoint``.

        Raises:
            FileNotFoundError: a checkpoint does not exist; the message lists the epochs that do.
            ValueError: a checkpoint is damaged or does not fit the model.
        """
        if not directory:
            logger.info("No checkpoint is loaded: no directory is given")
            return
        for name in self.get_model_names():
            path = str(find_checkpoint(directory, name, epoch))
            checkpoint = self.read_model_checkpoint(path)
            self.load_weights(name, checkpoint, path)
            logger.info(
                "Loaded %s from %s (epoch %s, validation result %s)",
                name, path, checkpoint["epoch"], checkpoint.get("val_result"),
            )  # fmt: skip
            self.epochs_trained = int(checkpoint["epoch"])

    def read_model_checkpoint(self, path: str) -> dict[str, Any]:
        """Read one checkpoint.

        Raises:
            ValueError: it is damaged, or has no ``state_dict`` or ``epoch``.
        """
        checkpoint = load_checkpoint(path)
        if missing := [key for key in ("state_dict", "epoch") if key not in checkpoint]:
            raise ValueError(f"Checkpoint {path!r} lacks {' and '.join(missing)}")
        return checkpoint

    def load_weights(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        """Take over what the checkpoint at ``path`` says of the model ``name``.

        Raises:
            ValueError: it does not fit; names ``path``.
        """
        try:
            self.load_model_state_dict(name, checkpoint["state_dict"])
        except ValueError as error:
            raise ValueError(f"Checkpoint {path!r}: {error}") from error

    def resume_model_if_exist(self, directory: str) -> int:
        """Go on from the checkpoints in ``directory``, if every model has one there.

        Returns:
            The number of epochs behind them, 0 if there are none.
        """
        folders = {name: os.path.join(directory, name) for name in self.get_model_names()}
        if not folders or not all(os.path.isfile(os.path.join(f, "checkpoint")) for f in folders.values()):
            return 0
        epoch = 0
        for name, folder in folders.items():
            path = latest_checkpoint(folder)
            checkpoint = self.read_model_checkpoint(path)
            self.check_resumable(checkpoint, path)
            self.load_weights(name, checkpoint, path)
            for part, key in ((self._optims[name], "optimizer"), (self._scheds[name], "scheduler")):
                if part is not None and checkpoint.get(key) is not None:
                    part.load_state_dict(checkpoint[key])
            epoch = int(checkpoint["epoch"])
            logger.info("Resumed %s from %s (epoch %d)", name, path, epoch)
        return epoch

    def check_resumable(self, checkpoint: dict[str, Any], path: str) -> None:
        """Raise a ``ValueError`` when a run must not go on from ``checkpoint``."""

    # The loop

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Train epochs ``start_epoch`` to ``max_epoch - 1``; ``before_train`` may move the start."""
        self.start_epoch, self.max_epoch = start_epoch, max_epoch
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.epochs_trained = self.epoch + 1
            self.after_epoch()
            self.save_resume_point()
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

    def save_resume_point(self) -> None:
        """Called after ``after_epoch``: store what a resumed run needs."""

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

    # TensorBoard

    def init_writer(self, log_dir: str) -> None:
        """Start writing curves to ``log_dir``, unless that has been done."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # an optional dependency

            self._writer = SummaryWriter(log_dir=log_dir)

    def close_writer(self) -> None:
        """Stop writing curves."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Add a point to a curve, when curves are written."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)
