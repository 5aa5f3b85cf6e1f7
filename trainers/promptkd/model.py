"""The student's image tower against the teacher's text tower.

Shape legend: B images, C classes, L of them, E_t width of the teacher's joint embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clip import CLIP
from dassl.engine.processes import in_shares
from trainers.core import PromptedCLIP, encode_prompts
from trainers.core.model import unit
from trainers.promptkd.learner import StudentLearner


class DistilledCLIP(PromptedCLIP):
    """Images through the student, classes through the teacher."""

    prompt_learner: StudentLearner

    def __init__(self, student: CLIP, learner: StudentLearner, teacher: PromptedCLIP) -> None:
        super().__init__(student, learner)
        self.teacher = teacher.requires_grad_(False).eval()
        self._teacher_text: Tensor | None = None

    @torch.no_grad()
    def teacher_text_features(self) -> Tensor:
        """The teacher's text features of all classes, [C, E_t]: frozen, so computed once."""
        if self._teacher_text is None:
            device = self.clip.logit_scale.device.type
            with torch.autocast(device, enabled=False):
                self._teacher_text = self.teacher.text_features()
            assert self._teacher_text is not None
        return self._teacher_text

    def text_features(self, classes: Tensor | None = None) -> Tensor | None:
        """The teacher's, [L, E_t], frozen or with the learner's prompts."""
        if hasattr(self.prompt_learner, "ctx"):
            return encode_prompts(self.teacher.clip, self.prompt_learner.text_prompts(classes))
        features = self.teacher_text_features()
        return features if classes is None else features[classes.to(features.device)]

    def image_features(self, images: Tensor) -> Tensor:
        """The student's, [B, E_t]."""
        prompts = self.prompt_learner.image_prompts()
        # The projection's batch norm is over all images.
        features = in_shares(lambda rows: self.clip.encode_image(rows, *prompts).float(), images)
        return unit(self.prompt_learner.projection(features[..., None, None]).flatten(1))

    @torch.no_grad()
    def teacher_logits(self, images: Tensor) -> Tensor:
        """[B, C]."""
        features = self.teacher.image_features(images)
        return self.teacher.class_logits(features, self.teacher_text_features(), None)
