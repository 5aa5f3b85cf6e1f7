"""Where files of others come in: CLIP's weights, and checkpoints of prompts, ours or the originals'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import clip
from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.engine.checkpoint import find_checkpoint
from dassl.utils import load_checkpoint
from trainers.core.known_clip import KnownCLIP
from trainers.core.prompts import PromptLearner

# Frozen tensors that the original repositories store beside the tuned ones.
_FROZEN_KEYS = re.compile(
    r"(prompt_learner\.)?token_(prefix|suffix)2?$|logit_scale$|clip_model\."
    r"|(image|text)_encoder\.(?!.*VPT)|prompt_learner\.(ZS_image_encoder|text_encoder)\."
)
LAST, BEST = -1, 0  # epochs that stand for the last one, and for the best on the validation images
FINAL = None  # the one that a run ends with: the best where it chose one, else the last


def load_clip(cfg: CN) -> CLIP:
    """The CLIP that ``MODEL.BACKBONE`` names, on the CPU in float32.

    Raises:
        FileNotFoundError, ValueError: see `clip.load`; also when INPUT.SIZE is not the model's resolution.
    """
    options = cfg.MODEL.BACKBONE
    try:
        model = clip.load(options.PATH or options.NAME, **declared(options.ACTIVATION, options.HEAD_WIDTH))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"MODEL.BACKBONE.PATH: {error}" if options.PATH else str(error)) from error
    except ValueError as error:
        raise ValueError(f"MODEL.BACKBONE: {error}") from error
    resolution = model.arch.image_resolution
    if tuple(cfg.INPUT.SIZE) != (resolution, resolution):
        raise ValueError(
            f"INPUT.SIZE is {tuple(cfg.INPUT.SIZE)}, but this CLIP takes {resolution} x {resolution} pixels: "
            f'set INPUT.SIZE "({resolution}, {resolution})"'
        )
    return model


def declared(activation: str, head_width: int) -> dict[str, Any]:
    """What settings say of a CLIP that its tensors can't, as `clip.load` takes it; "" and 0 say nothing."""
    return {"activation": activation or None, "head_width": head_width or None}


def find_prompts(setting: str, directory: str, model: str, epoch: int | None) -> Path:
    """The checkpoint that a run left in ``directory``.

    Args:
        setting: the one that ``directory`` comes from, for the message.
        model: the folder of its checkpoints, a trainer's ``MODEL_NAME``.
        epoch: its epoch; `LAST`, or `BEST` for ``model-best.pth.tar``. Where there is no other, that is
            the last one too. `FINAL` is the best one where there is one, else the last.

    Raises:
        FileNotFoundError: there is none; names ``setting``.
    """
    if epoch == FINAL:
        with suppress(FileNotFoundError):
            return find_checkpoint(directory, model, None)
    try:
        wanted = {BEST: None, FINAL: LAST}.get(epoch, epoch)
        return find_checkpoint(directory, model, wanted, setting)
    except FileNotFoundError:
        if epoch == LAST:
            with suppress(FileNotFoundError):
                return find_checkpoint(directory, model, None)
        raise


def read_prompts(
    setting: str, path: Path, method: str, known_clip: KnownCLIP | None = None
) -> dict[str, Any]:
    """A checkpoint of ``method``, ours or the original repository's, that ``setting`` leads to.

    Args:
        known_clip: what its prompts are going to meet; another CLIP than they were tuned on is warned of.

    Raises:
        ValueError: it is damaged, holds no prompts, or those of another method; names ``setting``.
    """
    try:
        checkpoint = load_checkpoint(str(path))
        if "state_dict" not in checkpoint:
            raise ValueError(f"{str(path)!r} holds no state_dict")
        check_method(checkpoint, method, str(path))
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error
    if known_clip is not None:
        known_clip.warn_of_another(checkpoint, f"{setting}: {path}")
    return checkpoint


def check_method(checkpoint: Mapping[str, Any], method: str, path: str) -> None:
    """Raise ValueError when another method of ours wrote the checkpoint."""
    if (written_by := checkpoint.get("trainer", method)) != method:
        raise ValueError(f"{path!r} holds prompts of {written_by}, but those of {method} are needed")


def take_prompts(source: Mapping[str, Any], learner: PromptLearner) -> None:
    """Copy a checkpoint's tensors into those that ``learner`` stores; frozen ones of it are ignored.

    Raises:
        ValueError: a needed key is missing, a shape differs, or a key is of another method.
    """
    target = learner.stored_tensors()
    problems = [f"{key} is missing" for key in target if key not in source]
    for key, tensor in target.items():
        value = source.get(key, tensor)
        if not isinstance(value, Tensor):
            problems.append(f"{key} is no tensor")
        elif value.shape != tensor.shape:
            problems.append(f"{key} has shape {tuple(value.shape)}, expected {tuple(tensor.shape)}")
        elif not value.isfinite().all():
            problems.append(f"{key} holds NaN or infinite numbers: take another epoch, or train again")
    known = re.compile(f"{_FROZEN_KEYS.pattern}|{learner.LEFTOVERS}") if learner.LEFTOVERS else _FROZEN_KEYS
    foreign = [key for key in source if key not in target and not known.match(key)]
    problems += [f"{key} is of another method or setting" for key in foreign]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError("its tensors do not fit this run: " + "; ".join(problems[:5]) + more)
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(source[key])
