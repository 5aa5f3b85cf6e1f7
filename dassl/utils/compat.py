"""What only other people's trainers use of the helpers: weights and layers of whole networks, small wrappers.

Dassl has them under ``dassl.utils``, where they can be imported from here, too; nothing of this repository
calls them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dassl.utils.checkpoint import latest_checkpoint, load_checkpoint

logger = logging.getLogger(__name__)


def check_isfile(fpath: str) -> bool:
    """Whether ``fpath`` is a file."""
    return os.path.isfile(fpath)


def tolist_if_not(x: Any) -> list[Any]:
    """``x`` if it is a list, else a list of it alone."""
    return x if isinstance(x, list) else [x]


def resume_from_checkpoint(
    fdir: str, model: nn.Module, optimizer: Optimizer | None = None, scheduler: Any = None
) -> int:
    """Load the checkpoint that the text file ``<fdir>/checkpoint`` names.

    Returns:
        The number of epochs behind it.
    """
    checkpoint = load_checkpoint(latest_checkpoint(fdir))
    model.load_state_dict(checkpoint["state_dict"])
    for part, key in ((optimizer, "optimizer"), (scheduler, "scheduler")):
        if part is not None and checkpoint.get(key) is not None:
            part.load_state_dict(checkpoint[key])
    return int(checkpoint["epoch"])


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Load the tensors of a checkpoint that fit ``model`` by name and shape, and log the others.

    Raises:
        ValueError: none fits.
    """
    checkpoint = load_checkpoint(weight_path)
    weights = checkpoint.get("state_dict", checkpoint)
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
    if not fitting:
        raise ValueError(f"No tensor of {weight_path!r} fits the model by name and shape: wrong checkpoint?")
    model.load_state_dict({**own, **fitting})
    logger.info("Loaded %d of %d tensors from %s", len(fitting), len(own), weight_path)
    if discarded := sorted(set(weights) - set(fitting)):
        logger.warning("Not loaded, for their name or shape: %s", ", ".join(discarded))


def count_num_param(model: nn.Module | None = None, params: Iterable[torch.Tensor] | None = None) -> int:
    """Number of entries of the parameters of ``model``, or of ``params``."""
    if params is None:
        assert model is not None, "model or params"
        params = model.parameters()
    return sum(parameter.numel() for parameter in params)


def open_all_layers(model: nn.Module) -> None:
    """Train every layer."""
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad = True


def open_specified_layers(model: nn.Module, open_layers: str | Iterable[str]) -> None:
    """Train the named children of ``model`` only; all others are frozen, in evaluation mode.

    Raises:
        ValueError: ``model`` has no child of that name.
    """
    if isinstance(model, nn.DataParallel):
        model = model.module
    layers = {open_layers} if isinstance(open_layers, str) else set(open_layers)
    children = dict(model.named_children())
    if unknown := layers - set(children):
        raise ValueError(f"The model has no layer {sorted(unknown)}; it has {sorted(children)}")
    for name, module in children.items():
        module.train(name in layers)
        for parameter in module.parameters():
            parameter.requires_grad = name in layers
