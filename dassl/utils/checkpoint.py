"""Checkpoint files: written atomically, read without executing anything."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, StepLR

from dassl.utils.files import atomic_path, write_text

logger = logging.getLogger(__name__)

_REFUSED = r"(?:GLOBAL|class|global) ([\w.]+) "  # names the class in torch's message


def _plain_dict(*factory: Any) -> dict[Any, Any]:
    return {}


# What Dassl's files hold beside tensors: its warm-up's successor is an object that holds the optimiser, whose
# memory of steps is a defaultdict, which torch's reader does not fill.
_harmless: list[Any] = [
    dict, (_plain_dict, "collections.defaultdict"), SGD, Adam, AdamW, RMSprop, CosineAnnealingLR, MultiStepLR,
    StepLR,
]  # fmt: skip


def allow_in_checkpoints(*classes: type) -> None:
    """Let checkpoints hold objects of these classes. Rebuilding one must run no code of the file."""
    _harmless.extend(cls for cls in classes if cls not in _harmless)


def write_checkpoint(state: Mapping[str, Any], fpath: str) -> None:
    """Write ``state`` to the file ``fpath``, atomically (see ``atomic_path``)."""
    # On a full disk torch's own writer fails with errors that do not say so.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with atomic_path(fpath) as path, open(path, "wb") as file:
        file.write(buffer.getbuffer())


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint, with all tensors on the CPU. Nothing of the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, no checkpoint, or holds objects other than tensors, plain values and
            the optimisers and schedulers that Dassl stores.
    """
    if not fpath:
        raise ValueError("The path of the checkpoint is empty")
    if not os.path.isfile(fpath):
        raise FileNotFoundError(f"No checkpoint file at {fpath!r}")
    try:
        with torch.serialization.safe_globals(_harmless):
            checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    # A damaged file can fail anywhere in torch's reader.
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and (refused := re.search(_REFUSED, str(error))):
            raise ValueError(
                f"Checkpoint {fpath!r} is refused: it holds {refused[1]}, but only tensors, plain values and "
                "the known optimisers and schedulers are read"
            ) from error
        size = os.path.getsize(fpath)
        raise ValueError(f"Checkpoint {fpath!r} is damaged or not a checkpoint ({size:,} bytes)") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"Checkpoint {fpath!r} holds a {type(checkpoint).__name__}, not a dict")
    if wrong := [key for key, fits in _ENTRIES.items() if key in checkpoint and not fits(checkpoint[key])]:
        raise ValueError(f"Checkpoint {fpath!r} is damaged or not a checkpoint: its {wrong[0]} is unusable")
    return checkpoint


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and (_is_plain_tensor(part) or not isinstance(part, torch.Tensor))
        for key, part in value.items()
    )


def _is_plain_tensor(value: Any) -> bool:
    """Whether it is a tensor with all its numbers, real ones, in memory: not sparse, quantized or meta."""
    return isinstance(value, torch.Tensor) and not (
        value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_complex()
    )


def _are_settings(value: Any) -> bool:
    try:
        for text in value.values():
            json.loads(text)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return False
    return all(isinstance(key, str) for key in value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


# What the entries of a checkpoint must be that is read here; others are not looked at.
_ENTRIES: dict[str, Callable[[Any], bool]] = {
    "state_dict": _is_state,
    "epoch": lambda value: isinstance(value, int) and value >= 0,
    "settings": _are_settings,
    "changed_settings": _are_names,
    "classnames": _are_names,
    "trainer": lambda value: isinstance(value, str),
    "dataset": lambda value: isinstance(value, str),
    "selected_on": lambda value: isinstance(value, str),
}


def save_checkpoint(
    state: Mapping[str, Any],
    save_dir: str,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write ``<save_dir>/model.pth.tar-<epoch>`` and the text file ``checkpoint`` that names it.

    Args:
        state: ``state_dict``, ``epoch``, ``optimizer``, ``scheduler``, ``val_result`` and more.
        save_dir: the folder.
        is_best: write ``model-best.pth.tar`` too.
        remove_module_from_keys: drop the ``module.`` that DataParallel puts before the keys.
        model_name: file name instead of ``model.pth.tar-<epoch>``.

    Raises:
        OSError: a file could not be written; older versions stay as they were.
    """
    if remove_module_from_keys:
        weights = {key.removeprefix("module."): value for key, value in state["state_dict"].items()}
        state = {**state, "state_dict": weights}
    name = model_name or f"model.pth.tar-{state['epoch']}"
    fpath = os.path.join(save_dir, name)
    write_checkpoint(state, fpath)
    write_text(name + "\n", os.path.join(save_dir, "checkpoint"))
    if is_best:
        write_checkpoint(state, os.path.join(save_dir, "model-best.pth.tar"))
    logger.info("Checkpoint saved to %s", fpath)


def latest_checkpoint(fdir: str) -> str:
    """The path that the text file ``<fdir>/checkpoint`` names.

    Raises:
        FileNotFoundError: there is no such text file.
    """
    with open(os.path.join(fdir, "checkpoint"), encoding="utf-8") as file:
        return os.path.join(fdir, file.readline().strip())


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


def check_state_dict(
    state_dict: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], source: str
) -> None:
    """Raise a ``ValueError`` naming ``source`` unless both have the same keys and shapes."""
    problems = [f"{key} is missing" for key in expected if key not in state_dict]
    problems += [f"{key} is not part of the model" for key in state_dict if key not in expected]
    problems += [
        f"{key} has the shape {list(value.shape)}, not {list(expected[key].shape)}"
        for key, value in state_dict.items()
        if key in expected and value.shape != expected[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(f"The weights of {source} do not fit the model: {shown}")
