"""The frozen CLIP seen through a prompt learner.

Shape legend: B images, C classes, L of them that a mini-batch needs, E width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip import CLIP
from dassl.engine.processes import in_shares
from trainers.core.prompts import PromptLearner, TextPrompts


class View(NamedTuple):
    """A mini-batch through the prompted towers."""

    images: Tensor  # [B, 3, H, W]
    labels: Tensor  # [B], class indices
    columns: Tensor  # [B], where the logits have each image's class: its label, or its place in `classes`
    image_features: Tensor  # [B, E]
    text_features: Tensor | None  # [L, E]; None where they depend on the image
    classes: Tensor | None = None  # [L] class indices, all of them when None
    impaths: Sequence[str] = ()  # B paths
    raw: tuple[Tensor, Tensor] | None = None  # [B, E], [L, E] before normalising, where a plug-in reads them


class PromptedCLIP(nn.Module):
    """The frozen CLIP seen through a prompt learner. Features are L2-normalised, they and logits float32."""

    def __init__(self, clip_model: CLIP, learner: PromptLearner) -> None:
        super().__init__()
        self.clip = clip_model.requires_grad_(False).eval()
        self.prompt_learner = learner

    def train(self, mode: bool = True) -> PromptedCLIP:
        self.prompt_learner.train(mode)
        return self  # the frozen towers stay in evaluation mode

    def text_features(self, classes: Tensor | None = None) -> Tensor | None:
        """[L, E] of the given class indices, or of all classes; None where they depend on the image.

        Normalising is by row, so encoding only some classes gives the rows that Eq. 6-8 of the DPC paper
        select.
        """
        return unit(self.raw_text_features(classes))

    def raw_text_features(self, classes: Tensor | None = None) -> Tensor:
        """`text_features` before they are normalised, [L, E]."""
        return self.clip.encode_embeddings(*self.prompt_learner.text_prompts(classes)).float()

    def image_features(self, images: Tensor) -> Tensor:
        """[B, E]; without gradient where no tuned tensor enters the image tower."""
        return unit(self.raw_image_features(images))

    def raw_image_features(self, images: Tensor) -> Tensor:
        """`image_features` before they are normalised, [B, E]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.prompt_learner.tunes_image_tower):
            prompts = self.prompt_learner.image_prompts()
            return in_shares(lambda rows: self.clip.encode_image(rows, *prompts).float(), images)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """[B, C], cosine similarity over the temperature (Eq. 4 of the DPC paper)."""
        with torch.autocast(image_features.device.type, enabled=False):
            return self.clip.logit_scale.exp() * image_features.float() @ text_features.float().t()

    def class_logits(
        self, image_features: Tensor, text_features: Tensor | None, classes: Tensor | None
    ) -> Tensor:
        """Logits [B, L] of the given class indices, or of all classes, with their `text_features`."""
        assert text_features is not None
        return self.logits(image_features, text_features)

    def forward(self, images: Tensor) -> Tensor:
        return self.class_logits(self.image_features(images), self.text_features(), None)


def unit(features: Tensor) -> Tensor:
    """Rows of length 1, float32 whatever the precision of the tower that made them."""
    return F.normalize(features.float(), dim=-1)


def encode_prompts(clip_model: CLIP, prompts: TextPrompts) -> Tensor:
    """Text features [L, E] of prompts, float32 and L2-normalised."""
    return unit(clip_model.encode_embeddings(*prompts))
