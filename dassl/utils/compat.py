"""What only other people's trainers use of the helpers: layers of whole networks, small wrappers.

Dassl has them under ``dassl.utils``, where they can be imported from here, too; nothing of this repository
calls them.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dassl.utils.checkpoint import latest_checkpoint, load_checkpoint
from dassl.utils.files import atomic_path
from dassl.utils.registry import check_availability


def check_isfile(fpath: str) -> bool:
    """Whether ``fpath`` is a file."""
    return os.path.isfile(fpath)


def tolist_if_not(x: Any) -> list[Any]:
    """``x`` if it is a list, else a list of it alone."""
    return x if isinstance(x, list) else [x]


def get_most_similar_str_to_a_from_b(a: str, b: Sequence[str]) -> str | None:
    """The string in ``b`` that is most like ``a``, of several the last; None where there is none."""
    return max(reversed(b), key=lambda candidate: SequenceMatcher(None, a, candidate).ratio(), default=None)


def download_url(url: str, dst: str) -> None:
    """Download ``url`` to the file ``dst``; a download that fails leaves nothing behind."""
    with atomic_path(dst) as temporary:
        urllib.request.urlretrieve(url, temporary)


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


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Draw the weights of all convolutions and linear layers; biases become 0, scales of normalisations 1.

    Args:
        init_type: normal, xavier, kaiming or orthogonal.
        gain: standard deviation (normal) or gain (xavier, orthogonal).

    Raises:
        ValueError: ``init_type`` is another one.
    """
    draw: dict[str, Callable[[torch.Tensor], Any]] = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain),
        "kaiming": nn.init.kaiming_normal_,
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain),
    }
    check_availability(init_type, draw)
    for module in model.modules():
        kind, weight, bias = type(module).__name__, *(getattr(module, n, None) for n in ("weight", "bias"))
        if weight is not None and ("Conv" in kind or "Linear" in kind):
            draw[init_type](weight)
        elif weight is not None and ("BatchNorm" in kind or "InstanceNorm" in kind):
            nn.init.ones_(weight)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)
