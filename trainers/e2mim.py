"""E2MIM: soft and hand-crafted prompts as two views of a class, and images mixed across classes.

Reconstructed from the abstract of Qian Zhang, "Generalizable Prompt Tuning for Vision-Language Models"
(arXiv 2410.03189): neither its text nor its code could be had. From there are the ideas: mutual information
of both kinds of prompts, an ensemble of them, class-wise augmentation of images. The estimator, how images
are mixed, and every weight are ours.

Shape legend: B images, C classes, L of them that a mini-batch needs, E width of the joint embedding.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dassl.config import CfgNode as CN
from dassl.config.rules import above, number, one_of
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.models import Names
from dassl.optim import build_lr_scheduler, build_optimizer
from trainers.coop import CoOp
from trainers.core import View
from trainers.core.model import unit
from trainers.core.templates import template_of

logger = logging.getLogger(__name__)


def mutual_information_loss(soft: Tensor, hand: Tensor, tau: float, critic: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE of L classes: I(soft; hand) >= log L - loss.

    Args:
        soft, hand: [L, E], L2-normalised features of the classes in either kind of prompt.
        tau: temperature.
        critic: [E, E] of the bilinear critic; None for cosine similarity.
    """
    scores = (soft if critic is None else soft @ critic) @ hand.t() / tau
    pairs = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, pairs) + F.cross_entropy(scores.t(), pairs)) / 2


def partners(labels: Tensor, within: bool) -> Tensor:
    """For each of B images the index of a random other one, of its class or of another; itself if none."""
    same = labels[:, None] == labels
    allowed = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device) if within else ~same
    alone = ~allowed.any(dim=1)
    weights = allowed.float() + torch.diag(alone.float())
    return torch.multinomial(weights.cpu(), 1).flatten().to(labels.device)


def mixed_cross_entropy(logits: Tensor, columns: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy of images of two classes, ``share`` [B] of them of the first one's; scalar."""
    one, two = (F.cross_entropy(logits, labels, reduction="none") for labels in (columns, other))
    return (share * one + (1 - share) * two).mean()


@TRAINER_REGISTRY.register()
class E2MIM(CoOp):
    OPTIONS = {
        "E2MIM": CN(
            {
                "MI_WEIGHT": 1.0,  # of the mutual-information loss; 0: none
                "MI_TAU": 0.07,  # its temperature; at CLIP's own, 0.01, it is near 0 from the start
                "CRITIC": "cosine",  # or bilinear: a matrix that is tuned beside the prompts, and not stored
                "MIX_WEIGHT": 0.5,  # of the loss of mixed images; 0: none
                "MIX_ALPHA": 1.0,  # an image's share is drawn from Beta(alpha, alpha)
                "MIX_MODE": "between",  # images of different classes, or within: of the same class
                "ENSEMBLE": 0.0,  # share of the hand-crafted prompts' logits in a test, 0..1
            }
        )
    }
    ALLOWED = {
        "MI_WEIGHT": number(0),
        "MI_TAU": above(0),
        "CRITIC": one_of("cosine", "bilinear"),
        "MIX_WEIGHT": number(0),
        "MIX_ALPHA": above(0),
        "MIX_MODE": one_of("between", "within"),
        "ENSEMBLE": number(0, 1),
    }
    READS = ("DATASET.TEMPLATE",)
    critic: nn.Parameter | None = None  # [E, E]
    critic_sched: Any = None

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.E2MIM
        if options.CRITIC == "bilinear" and not options.MI_WEIGHT:
            logger.warning("TRAINER.E2MIM.CRITIC has no effect with TRAINER.E2MIM.MI_WEIGHT 0")

    @cached_property
    def hand_crafted(self) -> Tensor:
        """Text features [C, E] of this run's classes in the data set's hand-written prompt."""
        return self.zero_shot_text([template_of(self.cfg, self.dm.dataset)])

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        options, losses = self.cfg.TRAINER.E2MIM, {}
        assert view.text_features is not None
        if options.MI_WEIGHT:
            hand = self.hand_crafted if view.classes is None else self.hand_crafted[view.classes]
            information = mutual_information_loss(view.text_features, hand, options.MI_TAU, self.critic)
            losses["loss_mi"] = options.MI_WEIGHT * information
        if options.MIX_WEIGHT:
            other = partners(view.labels, options.MIX_MODE == "within")
            beta = torch.distributions.Beta(options.MIX_ALPHA, options.MIX_ALPHA)
            share = beta.sample((len(other),)).to(other.device)
            mixed = unit(torch.lerp(view.image_features[other], view.image_features, share[:, None]))
            mixed_logits = self.class_logits(mixed, view.text_features, view.classes)
            mixed_loss = mixed_cross_entropy(mixed_logits, view.columns, view.columns[other], share)
            losses["loss_mix"] = options.MIX_WEIGHT * mixed_loss
        return losses

    def test_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C], ``ENSEMBLE`` of them the hand-crafted prompts'."""
        logits, share = super().test_logits(features), self.cfg.TRAINER.E2MIM.ENSEMBLE
        return torch.lerp(logits, self.model.logits(features, self.hand_crafted), share) if share else logits

    # -- the critic: tuned beside the prompts ------------------------------------------------------------

    def prepare(self) -> None:
        super().prepare()
        if self.cfg.TRAINER.E2MIM.CRITIC == "bilinear":
            self.critic = nn.Parameter(torch.eye(self.hand_crafted.shape[1], device=self.device))
            self.companions = [build_optimizer(nn.ParameterList([self.critic]), self.cfg.OPTIM)]
            self.critic_sched = build_lr_scheduler(self.companions[0], self.cfg.OPTIM)

    def update_lr(self, names: Names = None) -> None:
        super().update_lr(names)
        if self.critic_sched is not None:
            self.critic_sched.step()

    def extra_state(self) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if self.critic is not None:
            own = {"critic": self.critic.detach(), "critic_sched": self.critic_sched.state_dict()}
        return {**super().extra_state(), **own, "companions": [part.state_dict() for part in self.companions]}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        if self.critic is not None:
            self.critic.data.copy_(state["critic"])
            self.critic_sched.load_state_dict(state["critic_sched"])
        for part, stored in zip(self.companions, state["companions"], strict=True):
            part.load_state_dict(stored)
