"""The models of a trainer, with their optimisers, schedulers and checkpoints."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

import dassl.optim  # noqa: F401 - its schedulers may be part of the checkpoints that are read here
from dassl.engine.checkpoint import find_checkpoint
from dassl.engine.processes import by_main
from dassl.utils import check_state_dict, latest_checkpoint, load_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)

Names = str | Iterable[str] | None


class ModelKeeper:
    """Keeps models by name; writes and reads their checkpoints.

    Attributes:
        epochs_trained: epochs of training behind the current weights; None when unknown, such as after a
            ``load_model`` of a subclass that does not set it.
        selected_on: images that the current weights were selected on among epochs, see `selection_images`;
            "" where they were not, or it is unknown.
    """

    def __init__(self) -> None:
        self._models: dict[str, nn.Module] = OrderedDict()
        self._optims: dict[str, Optimizer | None] = OrderedDict()
        self._scheds: dict[str, Any] = OrderedDict()
        self.epochs_trained: int | None = None
        self.selected_on = ""

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

    def load_checkpoint_extras(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        """Restore what ``checkpoint_extras`` gave, where a run goes on from the checkpoint at ``path``."""

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
        by_main(lambda: self._write_models(epoch, directory, is_best, val_result, model_name))

    def _write_models(
        self, epoch: int, directory: str, is_best: bool, val_result: float | None, model_name: str
    ) -> None:
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
            selected = checkpoint.get("val_result") is not None
            self.selected_on = checkpoint.get("selected_on", "") if selected else ""

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
            self.load_checkpoint_extras(name, checkpoint, path)
            for part, key in ((self._optims[name], "optimizer"), (self._scheds[name], "scheduler")):
                if part is not None and checkpoint.get(key) is not None:
                    try:
                        part.load_state_dict(checkpoint[key])
                    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
                        raise ValueError(
                            f"Checkpoint {path!r}: its {key} does not fit ({error!r})"
                        ) from error
            epoch = int(checkpoint["epoch"])
            logger.info("Resumed %s from %s (epoch %d)", name, path, epoch)
        return epoch

    def check_resumable(self, checkpoint: dict[str, Any], path: str) -> None:
        """Raise a ``ValueError`` when a run must not go on from ``checkpoint``."""
