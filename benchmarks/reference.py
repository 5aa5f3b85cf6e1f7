"""What the original repositories compute in a training step, written plainly on the same towers.

Nothing is saved: 77 tokens for every class, every token in the last block, all classes in every step, and
features of frozen prompts in every step where the original code computes them there: the tuned prompt's in
DPC, the teacher's in PromptKD. PromptSRC keeps a second image tower for its frozen features. Loading is left
out: a step is given images that were loaded before.

Shape legend: n base classes, b images of the mini-batch, L image-text pairs, U classes among them,
E joint width.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from clip import CLIP
from clip.vit import ResidualAttentionBlock, token_at
from trainers.cocoop import CoCoOp, ConditionalLearner
from trainers.core import PromptLearner, PromptTrainer, TextPrompts
from trainers.plugins.dpc import DPC
from trainers.promptkd.trainer import PromptKD
from trainers.promptsrc import PromptSRC


def every_token(block: ResidualAttentionBlock, x: Tensor, causal: bool, read: Tensor | None = None) -> Tensor:
    """A block that computes all tokens also where only those at ``read`` [N] or [N, R] are used."""
    x = x + block.attn(block.ln_1(x), causal)
    x = x + block.mlp(block.ln_2(x))
    return x if read is None else token_at(x, read)


class Path77:
    """Plain steps of a method with the prompts, towers and optimiser of its trainer.

    Args:
        trainer: ready for a training step; CoCoOp with DPC is not covered.
    """

    def __init__(self, trainer: PromptTrainer) -> None:
        assert not isinstance(trainer, DPC) or not isinstance(trainer, CoCoOp)
        self.trainer, self.model, self.device = trainer, trainer.model, trainer.device
        self.learner: PromptLearner = trainer.model.prompt_learner
        self.batch_size = trainer.cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        self.text_clip: CLIP = self.model.teacher.clip if isinstance(trainer, PromptKD) else self.model.clip
        if isinstance(trainer, PromptSRC):
            self.second_tower = deepcopy(self.model.clip.visual)

    def step(self, batch: Mapping[str, Any]) -> int:
        """One update on a batch with ``img`` [L, 3, H, W] and ``label`` [L]; returns L."""
        with self.trainer.precision.autocast():
            loss = self.loss(batch)
        self.trainer.model_backward_and_update(loss)
        loss.item()
        return len(batch["label"])

    def loss(self, batch: Mapping[str, Any]) -> Tensor:
        """What the step minimises."""
        with patch.object(ResidualAttentionBlock, "forward", every_token):
            return self._loss(batch)

    def _loss(self, batch: Mapping[str, Any]) -> Tensor:
        images, labels = batch["img"].to(self.device), batch["label"].to(self.device)
        if isinstance(self.trainer, DPC):
            self.negatives(images[: self.batch_size])
            return self.contrastive(images, labels)
        features = self.model.image_features(images)
        if isinstance(self.trainer, CoCoOp):
            return F.cross_entropy(self.conditional_logits(features), labels)
        if isinstance(self.trainer, PromptKD):
            return self.distillation(images, self.model.logits(features, self.model.text_features()))
        texts = self.text_features(self.learner.text_prompts())
        logits = self.model.logits(features, texts)
        return F.cross_entropy(logits, labels) + self.self_consistency(images, features, texts, logits)

    def text_features(self, prompts: TextPrompts) -> Tensor:
        """[n, E] of prompts filled up to the whole context."""
        x, eot, deep = prompts
        padding = self.text_clip.token_embedding.weight[0]
        missing = self.text_clip.arch.context_length - x.shape[1]
        x = torch.cat([x, padding.expand(len(x), missing, -1)], dim=1)
        return F.normalize(self.text_clip.encode_embeddings(x, eot, deep).float(), dim=-1)

    def conditional_logits(self, features: Tensor) -> Tensor:
        """[B, n]; CoCoOp's texts are different for every image."""
        learner = self.learner
        assert isinstance(learner, ConditionalLearner)
        texts = (self.text_features(learner.text_prompts_for(image)) for image in features)
        return torch.stack(
            [self.model.logits(image, text) for image, text in zip(features, texts, strict=True)]
        )

    @torch.no_grad()
    def teacher_logits(self, images: Tensor) -> Tensor:
        """[B, n] of PromptKD's frozen teacher."""
        teacher = self.model.teacher
        texts = self.text_features(teacher.prompt_learner.text_prompts())
        return self.model.logits(teacher.image_features(images), texts)

    def distillation(self, images: Tensor, logits: Tensor) -> Tensor:
        options = self.trainer.cfg.TRAINER.PROMPTKD
        tau = options.TEMPERATURE
        student = F.log_softmax(logits / tau, dim=1)
        teacher = F.softmax(self.teacher_logits(images) / tau, dim=1)
        return options.KD_WEIGHT * tau**2 * F.kl_div(student, teacher, reduction="sum") / logits.numel()

    @torch.no_grad()
    def negatives(self, images: Tensor) -> list[list[int]]:
        """The query of DPC's sampler, frozen: Top-K classes of each of the b images."""
        if isinstance(self.trainer, PromptKD):
            scores = self.teacher_logits(images)
        else:
            assert isinstance(self.trainer, DPC)
            with self.trainer.dual_prompts.showing("tuned"):
                features = self.model.image_features(images)
                scores = features @ self.text_features(self.learner.text_prompts()).t()
        return scores.topk(min(self.trainer.cfg.TRAINER.DPC.TOPK, scores.shape[1])).indices.tolist()

    def contrastive(self, images: Tensor, labels: Tensor) -> Tensor:
        """DPC's loss over L pairs; the backbone's own losses see the U classes of the pairs."""
        features = self.model.image_features(images)
        texts = self.text_features(self.learner.text_prompts())
        logits = self.model.logits(features, texts[labels])
        pairs = torch.arange(len(logits), device=self.device)
        loss = F.cross_entropy(logits, pairs) + F.cross_entropy(logits.t(), pairs)
        assert isinstance(self.trainer, DPC)
        if self.trainer.reading.reduction == "mean":
            loss = loss / 2
        classes = labels.unique()
        logits = self.model.logits(features, texts[classes])
        return loss + self.self_consistency(images, features, texts[classes], logits, classes)

    def self_consistency(
        self, images: Tensor, features: Tensor, texts: Tensor, logits: Tensor, classes: Tensor | None = None
    ) -> Tensor:
        """PromptSRC's three losses; 0 for other methods."""
        if not isinstance(self.trainer, PromptSRC):
            return torch.zeros((), device=self.device)
        options = self.trainer.cfg.TRAINER.PROMPTSRC
        frozen_texts = self.trainer.fixed_text_features
        frozen_texts = frozen_texts if classes is None else frozen_texts[classes]
        with torch.no_grad():
            frozen_images = F.normalize(self.second_tower(images.to(self.model.clip.dtype)).float(), dim=-1)
            target = F.log_softmax(self.model.logits(frozen_images, frozen_texts), dim=1)
        divergence = F.kl_div(F.log_softmax(logits, dim=1), target, reduction="sum", log_target=True)
        return (
            options.TEXT_LOSS_WEIGHT * F.l1_loss(texts, frozen_texts)
            + options.IMAGE_LOSS_WEIGHT * F.l1_loss(features, frozen_images)
            + divergence / logits.numel()
        )
