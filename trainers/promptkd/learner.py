"""What PromptKD tunes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from clip import CLIP
from trainers.ivlp import VisionLanguageLearner


class StudentLearner(VisionLanguageLearner):
    """Visual prompts of the student and a projection of its image features to the teacher's width."""

    def __init__(self, student: CLIP, teacher: CLIP, classnames: Sequence[str], **options: Any) -> None:
        super().__init__(student, classnames, text_clip=teacher, **options)
        width = teacher.arch.embed_dim
        self.projection = nn.Sequential(
            nn.Conv2d(student.arch.embed_dim, width, 1),
            BatchNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def checkpoint_key(self, name: str) -> str:
        part, _, rest = name.partition(".")
        return f"VPT_image_trans.conv1.{rest}" if part == "projection" else super().checkpoint_key(name)


class BatchNorm(nn.BatchNorm2d):
    """Normalises a single image, whose batch has no spread, by the statistics gathered so far."""

    def forward(self, x: Tensor) -> Tensor:  # [B, E_t, 1, 1]
        if self.training and len(x) == 1:
            mean, variance = self.running_mean, self.running_var
            return nn.functional.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
