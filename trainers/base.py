"""What every prompt-tuning method shares: a frozen CLIP, a prompt learner, a loop, checkpoints.

A method is a `PromptTrainer` that says which `PromptLearner` it tunes and, where it differs, which loss.

Shape legend: B images, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

import clip
from clip import CLIP
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint
from trainers.features import FeatureTrainer
from trainers.precision import check_precision, supported_precision, tower_dtype
from trainers.prompts import PromptLearner, TextPrompts

logger = logging.getLogger(__name__)

# Frozen tensors that the original repositories store beside the tuned ones.
_FROZEN_KEYS = re.compile(
    r"(prompt_learner\.)?token_(prefix|suffix)2?$|logit_scale$|clip_model\."
    r"|(image|text)_encoder\.(?!.*VPT)|prompt_learner\.(ZS_image_encoder|text_encoder)\."
)


class StepOutput(NamedTuple):
    """Result of one training step before the backward pass."""

    losses: dict[str, Tensor]  # name -> scalar; their sum is minimised
    logits: Tensor  # [B, C]
    labels: Tensor  # [B]


class View(NamedTuple):
    """A mini-batch through the prompted towers."""

    images: Tensor  # [B, 3, H, W]
    image_features: Tensor  # [B, E]
    text_features: Tensor | None  # [L, E]
    classes: Tensor | None = None  # [L] class indices, all of them when None


class PromptedCLIP(nn.Module):
    """The frozen CLIP seen through a prompt learner. Features are float32 and L2-normalised."""

    def __init__(self, clip_model: CLIP, learner: PromptLearner) -> None:
        super().__init__()
        self.clip = clip_model.requires_grad_(False).eval()
        self.prompt_learner = learner

    def train(self, mode: bool = True) -> PromptedCLIP:
        self.prompt_learner.train(mode)
        return self  # the frozen towers stay in evaluation mode

    def text_features(self, classes: Tensor | None = None) -> Tensor | None:
        """[L, E] of the given class indices, or of all classes; None where they depend on the image.

        Normalising is by row, so encoding only some classes gives the rows that Eq. 6-8 select.
        """
        return encode_prompts(self.clip, self.prompt_learner.text_prompts(classes))

    def image_features(self, images: Tensor) -> Tensor:
        """[B, E]; without gradient where no tuned tensor enters the image tower."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.prompt_learner.tunes_image_tower):
            prompts = self.prompt_learner.image_prompts()
            return F.normalize(self.clip.encode_image(images, *prompts).float(), dim=-1)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """[B, C], cosine similarity over the temperature (Eq. 4), in float32 under autocast too."""
        with torch.autocast(image_features.device.type, enabled=False):
            return self.clip.logit_scale.exp() * image_features @ text_features.t()

    def class_logits(
        self, image_features: Tensor, text_features: Tensor | None, classes: Tensor | None
    ) -> Tensor:
        """Logits [B, L] of the given class indices, or of all classes, with their `text_features`."""
        assert text_features is not None
        return self.logits(image_features, text_features)

    def forward(self, images: Tensor) -> Tensor:
        return self.class_logits(self.image_features(images), self.text_features(), None)


class PromptTrainer(FeatureTrainer):
    """Base of all methods.

    Attributes:
        OPTIONS: the options that the method adds below ``cfg.TRAINER``, by node name.
        NODE: the node of ``OPTIONS`` that holds the method's ``PREC``.
        MODEL_NAME: folder of the checkpoints, as in the original repository.
    """

    OPTIONS: dict[str, Any] = {}
    NODE: str
    MODEL_NAME = "prompt_learner"

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        """The tuned part. ``clip_model`` is float32 here, and on the run's device."""
        raise NotImplementedError

    def assemble(self, clip_model: CLIP, learner: PromptLearner) -> PromptedCLIP:
        """How the method's prompts meet the towers."""
        return PromptedCLIP(clip_model, learner)

    def check_cfg(self, cfg: CN) -> None:
        check_precision(f"TRAINER.{self.NODE}.PREC", cfg.TRAINER[self.NODE].PREC)

    def check_positive(self, cfg: CN, *options: str) -> None:
        """Raise ValueError unless these options of the method are 1 or more."""
        for option in options:
            if (value := cfg.TRAINER[self.NODE][option]) < 1:
                raise ValueError(f"TRAINER.{self.NODE}.{option} is {value}; it must be at least 1")

    def build_model(self) -> None:
        cfg = self.cfg
        self.precision = supported_precision(
            f"TRAINER.{self.NODE}.PREC", cfg.TRAINER[self.NODE].PREC, self.device
        )
        clip_model = load_clip(cfg).to(self.device)
        learner = self.build_learner(clip_model, self.dm.dataset.classnames)
        clip.set_precision(clip_model, tower_dtype(self.precision))
        self.model = self.assemble(clip_model, learner).to(self.device)
        self.optim = build_optimizer(learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(self.MODEL_NAME, learner, self.optim, self.sched)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.precision == "amp" else None
        if cfg.MODEL.INIT_WEIGHTS:
            path = cfg.MODEL.INIT_WEIGHTS
            self.load_weights(self.MODEL_NAME, self.read_model_checkpoint(path), path)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision where ``PREC`` is amp."""
        if self.precision == "amp":
            return torch.autocast(self.device.type, torch.float16)
        return nullcontext()

    # -- training ---------------------------------------------------------------------------------

    def parse_batch_train(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] and labels [B], on the device."""
        return self._to_device(batch["img"]), self._to_device(batch["label"])

    def compute_loss(self, batch: Mapping[str, Any]) -> StepOutput:
        """Cross-entropy over all classes (Eq. 3) and the method's own losses."""
        images, labels = self.parse_batch_train(batch)
        view = View(images, self.model.image_features(images), self.model.text_features())
        logits = self.model.class_logits(view.image_features, view.text_features, None)
        losses = {"loss_ce": F.cross_entropy(logits, labels), **self.own_losses(view, logits)}
        return StepOutput(losses, logits, labels)

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """What the method minimises beside the classification loss; named scalars."""
        return {}

    def forward_backward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        with self.autocast():
            losses, logits, labels = self.compute_loss(batch)
            loss = torch.stack(list(losses.values())).sum()
        self._update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        parts = {name: part.detach() for name, part in losses.items()} if len(losses) > 1 else {}
        return {"loss": loss.detach(), **parts, "acc": compute_accuracy(logits, labels)[0].detach()}

    def _update(self, loss: Tensor) -> None:
        if self.scaler is None:
            self.model_backward_and_update(loss)
            return
        self.detect_anomaly(loss)
        self.model_zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optim)
        self.scaler.update()

    # -- evaluation -------------------------------------------------------------------------------

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the tuned prompts of a run (see Dassl's ``load_model``)."""
        if not directory:
            logger.warning("no --model-dir is given: the prompts are evaluated as initialised, untuned")
        super().load_model(directory, epoch)

    def test(self, split: str | None = None) -> float:
        self.start_test(split or self.cfg.TEST.SPLIT)
        return super().test(split)

    @torch.no_grad()
    def start_test(self, split: str) -> None:
        """Compute what all images of a test share."""
        self.set_model_mode("eval")
        with self.autocast():
            self._text_features = self.test_text_features(split)

    def test_text_features(self, split: str) -> Tensor | None:
        """Text features of the classes of ``split``, once for all its images."""
        return self.model.text_features()

    def frozen_image_tower(self) -> nn.Module | None:
        own_features = type(self.model).image_features is not PromptedCLIP.image_features
        return None if own_features or self.model.prompt_learner.tunes_image_tower else self.model.clip.visual

    def test_image_features(self, images: Tensor) -> Tensor:
        with self.autocast():
            return self.model.image_features(images)

    def test_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] against the text features of the running test."""
        with self.autocast():
            return self.model.class_logits(features, self._text_features, None)

    # -- checkpoints ------------------------------------------------------------------------------

    def model_state_dict(self, name: str) -> dict[str, Tensor]:
        """Only what was tuned, under the original repository's keys."""
        return {key: tensor.detach() for key, tensor in self.model.prompt_learner.stored_tensors().items()}

    def load_model_state_dict(self, name: str, state_dict: Mapping[str, Tensor]) -> None:
        """Take over tuned tensors, ours or the original repository's.

        Raises:
            ValueError: a key is missing, has a wrong shape or is of another method.
        """
        copy_tensors(state_dict, self.model.prompt_learner.stored_tensors())

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also which method tuned the prompts, and on what."""
        return {
            **super().checkpoint_extras(name),
            "trainer": type(self).__name__,
            "dataset": self.dm.dataset.name,
            "classnames": list(self.dm.dataset.classnames),
        }

    def read_model_checkpoint(self, path: str) -> dict[str, Any]:
        """Read one checkpoint, refusing one that another method of ours wrote."""
        checkpoint = super().read_model_checkpoint(path)
        check_method(checkpoint, type(self).__name__, path)
        return checkpoint


def load_clip(cfg: CN) -> CLIP:
    """The CLIP that ``MODEL.BACKBONE`` names, on the CPU in float32.

    Raises:
        FileNotFoundError, ValueError: see `clip.load`; also when INPUT.SIZE is not the model's resolution.
    """
    path = cfg.MODEL.BACKBONE.PATH
    try:
        model = clip.load(path or cfg.MODEL.BACKBONE.NAME)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"MODEL.BACKBONE.PATH: {error}" if path else str(error)) from error
    resolution = model.arch.image_resolution
    if tuple(cfg.INPUT.SIZE) != (resolution, resolution):
        raise ValueError(
            f"INPUT.SIZE is {tuple(cfg.INPUT.SIZE)}, but this CLIP takes {resolution} x {resolution} pixels: "
            f'set INPUT.SIZE "({resolution}, {resolution})"'
        )
    return model


def encode_prompts(clip_model: CLIP, prompts: TextPrompts) -> Tensor:
    """Text features [L, E] of prompts, float32 and L2-normalised."""
    return F.normalize(clip_model.encode_embeddings(*prompts).float(), dim=-1)


def read_prompts(setting: str, path: Path, method: str) -> dict[str, Any]:
    """A checkpoint of ``method``, ours or the original repository's, that ``setting`` leads to.

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
    return checkpoint


def check_method(checkpoint: Mapping[str, Any], method: str, path: str) -> None:
    """Raise ValueError when another method of ours wrote the checkpoint."""
    if (written_by := checkpoint.get("trainer", method)) != method:
        raise ValueError(f"{path!r} holds prompts of {written_by}, but those of {method} are needed")


def copy_tensors(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copy a checkpoint's tuned tensors into leaves of the same keys; its frozen ones are ignored.

    Raises:
        ValueError: a needed key is missing, a shape differs, or a key is of another method.
    """
    problems = [f"{key} is missing" for key in target if key not in source]
    problems += [
        f"{key} has shape {tuple(source[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in target.items()
        if key in source and source[key].shape != tensor.shape
    ]
    foreign = [key for key in source if key not in target and not _FROZEN_KEYS.match(key)]
    problems += [f"{key} is of another method or setting" for key in foreign]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError("its tensors do not fit this run: " + "; ".join(problems[:5]) + more)
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(source[key])
