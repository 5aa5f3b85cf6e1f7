"""What every prompt-tuning method shares: a frozen CLIP, a prompt learner, steps of training, checkpoints.

A method is a `PromptTrainer` that says which `PromptLearner` it tunes and, where it differs, which losses. A
plug-in is one too, put in front of a method: ``class CoOp_DPC(DPC, CoOp)``.

Shape legend: B images, C classes, L of them that a mini-batch needs, E width of the joint embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

import clip
from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import one_of, text
from dassl.engine.models import Names
from dassl.engine.processes import backward
from dassl.engine.runtime import PRECISIONS, supported_precision
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from trainers.core.clip_trainer import CLIPTrainer
from trainers.core.door import check_method, load_clip, take_prompts
from trainers.core.known_clip import KnownCLIP
from trainers.core.model import PromptedCLIP, View
from trainers.core.prompts import PromptLearner
from trainers.core.scope import Scope, TunedOn
from trainers.core.templates import ensemble_features

logger = logging.getLogger(__name__)


class StepOutput(NamedTuple):
    """Result of one training step before the backward pass."""

    losses: dict[str, Tensor]  # name -> scalar; their sum is minimised
    logits: Tensor  # [B, L]
    columns: Tensor  # [B], the column of each image's class


class PromptTrainer(CLIPTrainer):
    """Base of all methods that tune prompts.

    Attributes:
        NODE: the node of ``OPTIONS`` that holds the method's ``PREC``.
        MODEL_NAME: folder of the checkpoints, as in the original repository.
        DPC_WEIGHT_BASE: w_b of the DPC paper for this method, where ``TRAINER.DPC.WEIGHT_BASE`` gives none.
    """

    NODE: str
    ALLOWED = {"PREC": one_of(*PRECISIONS), "CTX_INIT": text()}
    MODEL_NAME = "prompt_learner"
    DPC_WEIGHT_BASE = 0.2

    companions: Sequence[Optimizer] = ()  # of what a method tunes beside its prompts, in training alone

    tuned_on: TunedOn | None = None  # the classes of the prompts; None where their checkpoint doesn't say

    # -- what a method says -------------------------------------------------------------------------

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        """The tuned part. ``clip_model`` is float32 here, and on the run's device."""
        raise NotImplementedError

    def assemble(self, clip_model: CLIP, learner: PromptLearner) -> PromptedCLIP:
        """How the method's prompts meet the towers."""
        return PromptedCLIP(clip_model, learner)

    def build_optim(self, learner: PromptLearner) -> Optimizer:
        """The optimiser of all that ``learner`` tunes."""
        return build_optimizer(learner, self.cfg.OPTIM)

    def classification_loss(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """The loss that tells classes apart, for a plug-in to replace or add to; named scalars.

        Args:
            logits: [B, L] of ``view``, whose columns have the images' classes.
        """
        return {"loss_ce": F.cross_entropy(logits, view.columns)}  # Eq. 3 of the DPC paper

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """What the method minimises beside the classification loss; named scalars."""
        return {}

    def class_logits(
        self, image_features: Tensor, text_features: Tensor | None, classes: Tensor | None = None
    ) -> Tensor:
        """Logits [B, L] of the given class indices, or of all classes, in training and evaluation alike."""
        return self.model.class_logits(image_features, text_features, classes)

    # -- the run --------------------------------------------------------------------------------------

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if cfg.DATALOADER.K_TRANSFORMS > 1:
            raise ValueError(
                f"DATALOADER.K_TRANSFORMS is {cfg.DATALOADER.K_TRANSFORMS}, but a step takes one view of an "
                "image: set it to 1 (more epochs show more views)"
            )

    def build_model(self) -> None:
        cfg = self.cfg
        setting = f"TRAINER.{self.NODE}.PREC"
        self.precision = supported_precision(setting, cfg.TRAINER[self.NODE].PREC, self.device)
        clip_model = load_clip(cfg)
        self.known_clip = KnownCLIP.of(clip_model, cfg.MODEL.BACKBONE.PATH or cfg.MODEL.BACKBONE.NAME)
        clip_model.to(self.device)
        learner = self.build_learner(clip_model, self.dm.dataset.classnames)
        clip.set_precision(clip_model, self.precision.towers)
        self.model = self.assemble(clip_model, learner).to(self.device)
        self.optim = self.build_optim(learner)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(self.MODEL_NAME, learner, self.optim, self.sched)
        self.scaler = self.precision.scaler()
        if cfg.MODEL.INIT_WEIGHTS:
            path = cfg.MODEL.INIT_WEIGHTS
            self.load_weights(self.MODEL_NAME, self.read_model_checkpoint(path), path)

    def zero_shot_text(self, templates: Sequence[str], normalize_each: bool = True) -> Tensor:
        """Text features [C, E] of this run's classes in hand-written prompts, see `ensemble_features`.

        They are computed in float32 whatever ``PREC``.
        """
        exact = self.precision.towers == torch.float32
        clip_model = self.model.clip if exact else load_clip(self.cfg).to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            return ensemble_features(clip_model, self.scope.names, templates, normalize_each)

    def on_source_classes(self) -> bool:
        """Whether this run's classes are among those that its prompts were tuned on."""
        return self.scope.is_within(self.tuned_on)

    def prepare(self) -> None:
        super().prepare()
        self.tuned_on = TunedOn(self.scope.dataset, list(self.scope.names))

    # -- a training step, from top to bottom ------------------------------------------------------------

    def forward_backward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        with self.precision.autocast():
            losses, logits, columns = self.compute_loss(batch)
            loss = torch.stack(list(losses.values())).sum()
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        parts = {name: part.detach() for name, part in losses.items()} if len(losses) > 1 else {}
        return {"loss": loss.detach(), **parts, "acc": compute_accuracy(logits, columns)[0].detach()}

    def compute_loss(self, batch: Mapping[str, Any]) -> StepOutput:
        """The classification loss and the method's own."""
        view = self.view(batch)
        logits = self.class_logits(view.image_features, view.text_features, view.classes)
        losses = {**self.classification_loss(view, logits), **self.own_losses(view, logits)}
        return StepOutput(losses, logits, view.columns)

    def view(self, batch: Mapping[str, Any]) -> View:
        """The mini-batch and all classes through the towers."""
        images, labels = self.parse_batch_train(batch)
        image_features, text_features = self.model.image_features(images), self.model.text_features()
        return View(images, labels, labels, image_features, text_features, impaths=batch.get("impath", ()))

    def parse_batch_train(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] and labels [B], on the device."""
        return self._to_device(batch["img"]), self._to_device(batch["label"])

    def model_backward(self, loss: Tensor) -> None:
        self.detect_anomaly(loss)
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        backward(scaled, self.tuned_tensors())

    def model_zero_grad(self, names: Names = None) -> None:
        for optim in self._moving():
            optim.zero_grad()

    def model_update(self, names: Names = None) -> None:
        for optim in self._moving():
            if self.scaler is None:
                optim.step()
            elif any(tensor.grad is not None for group in optim.param_groups for tensor in group["params"]):
                self.scaler.step(optim)
        if self.scaler is not None:
            self.scaler.update()

    def tuned_tensors(self) -> Iterator[Tensor]:
        for group in self._groups():
            yield from group["params"]

    def _moving(self) -> list[Optimizer]:
        return [self.optim, *self.companions]

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optim in self._moving() for group in optim.param_groups]

    # -- evaluation -------------------------------------------------------------------------------------

    def tested(self, split: str) -> Scope:
        """The classes that an evaluation of ``split`` is on."""
        return self.scope

    def test(self, split: str | None = None) -> float:
        split = split or self.cfg.TEST.SPLIT
        names = dict(enumerate(self.tested(split).names))
        self.evaluator = build_evaluator(self.cfg, lab2cname=names)
        self.start_test(split)
        return super().test(split)

    def result_origin(self, split: str) -> dict[str, Any]:
        """Also which classes were tested, and ``tuned_on``, the prompts' data set, where that is known."""
        known = {"tuned_on": self.tuned_on.dataset} if self.tuned_on else {}
        return {**super().result_origin(split), "subsample_classes": self.tested(split).subset, **known}

    @torch.no_grad()
    def start_test(self, split: str) -> None:
        """Compute what all images of a test share."""
        self.set_model_mode("eval")
        with self.precision.autocast():
            self._text_features = self.test_text_features(split)

    def test_text_features(self, split: str) -> Tensor | None:
        """Text features of the classes of ``split``, once for all its images."""
        return self.model.text_features()

    def frozen_image_tower(self) -> nn.Module | None:
        own_features = type(self.model).image_features is not PromptedCLIP.image_features
        return None if own_features or self.model.prompt_learner.tunes_image_tower else self.model.clip.visual

    def test_image_features(self, images: Tensor) -> Tensor:
        with self.precision.autocast():
            return self.model.image_features(images)

    def test_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] against the text features of the running test."""
        with self.precision.autocast():
            return self.class_logits(features, self._text_features)

    # -- checkpoints ------------------------------------------------------------------------------------

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the tuned prompts of a run (see Dassl's ``load_model``)."""
        if not directory:
            logger.warning("no --model-dir is given: the prompts are evaluated as initialised, untuned")
        super().load_model(directory, epoch)

    def model_state_dict(self, name: str) -> dict[str, Tensor]:
        """Only what was tuned, under the original repository's keys."""
        return {key: tensor.detach() for key, tensor in self.model.prompt_learner.stored_tensors().items()}

    def load_model_state_dict(self, name: str, state_dict: Mapping[str, Tensor]) -> None:
        """Take over tuned tensors, ours or the original repository's.

        Raises:
            ValueError: a key is missing, has a wrong shape or is of another method.
        """
        take_prompts(state_dict, self.model.prompt_learner)

    def load_weights(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        super().load_weights(name, checkpoint, path)
        self.tuned_on = TunedOn.of(checkpoint)
        self.known_clip.warn_of_another(checkpoint, path)

    def check_resumable(self, checkpoint: dict[str, Any], path: str) -> None:
        super().check_resumable(checkpoint, path)
        self.known_clip.refuse_another(checkpoint, path)

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "clip": self.known_clip._asdict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.known_clip.refuse_another(state, "the resume file")

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also which method tuned the prompts, on which CLIP, and on what."""
        return {
            **super().checkpoint_extras(name),
            "trainer": type(self).__name__,
            "clip": self.known_clip._asdict(),
            "dataset": self.scope.dataset,
            "classnames": list(self.scope.names),
        }

    def read_model_checkpoint(self, path: str) -> dict[str, Any]:
        """Read one checkpoint, refusing one that another method of ours wrote."""
        checkpoint = super().read_model_checkpoint(path)
        check_method(checkpoint, self.writer(), path)
        return checkpoint

    def writer(self) -> str:
        """The name of the trainer whose checkpoints this one reads."""
        return type(self).__name__
