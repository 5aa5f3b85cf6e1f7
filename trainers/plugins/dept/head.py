"""The linear head of DePT, and a learner that has one beside its prompts.

Shape legend: B images, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.core import PromptLearner


class FiLM(nn.Module):
    """Scales and shifts each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:  # [B, E]
        return self.scale * features + self.bias


class Head(nn.Module):
    """Linear logits of features that are not normalised; the parts have the original's names."""

    def __init__(self, width: int, classes: int, film: bool) -> None:
        super().__init__()
        self.film_lp_img = FiLM(width) if film else nn.Identity()
        self.film_lp_text = FiLM(width) if film else nn.Identity()
        self.linear_probe_proj = nn.Linear(width, classes)

    def forward(self, image: Tensor, text: Tensor | None = None) -> Tensor:
        """Logits [B, C] of images [B, E]; of text features [B, E] too, in front: [2B, C]."""
        with torch.autocast(image.device.type, enabled=False):
            rows = self.film_lp_img(image)
            if text is not None:
                rows = torch.cat([self.film_lp_text(text), rows])
            return self.linear_probe_proj(rows)


class Headed(PromptLearner):
    """Put in front of a learner's class: the head is stored as the original stores it, in the whole model."""

    head: Head
    prefix: str  # of the learner's own keys, where its method stores the learner alone

    def checkpoint_key(self, name: str) -> str:
        part, _, rest = name.partition(".")
        return rest if part == "head" else self.prefix + super().checkpoint_key(name)


def headed(learner: PromptLearner, head: Head, prefix: str) -> Headed:
    """``learner`` itself, with ``head`` among what it tunes."""
    own = type(learner)
    # in the whole model a learner's leftovers stand below its name, too
    leftovers = rf"(prompt_learner\.)?({own.LEFTOVERS})" if own.LEFTOVERS else ""
    learner.__class__ = type(own.__name__, (Headed, own), {"LEFTOVERS": leftovers, "prefix": prefix})
    assert isinstance(learner, Headed)
    learner.head = head
    return learner
