"""PromptSRC: IVLP kept close to zero-shot CLIP and averaged over epochs (Khattak et al., ICCV 2023).

Shape legend: B images, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.config import CfgNode as CN
from dassl.config.rules import number
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.processes import in_shares
from trainers.core import View
from trainers.core.model import unit
from trainers.core.templates import ENSEMBLE_TEMPLATES
from trainers.ivlp import IVLP


@TRAINER_REGISTRY.register()
class PromptSRC(IVLP):
    NODE = "PROMPTSRC"
    OPTIONS = {
        "PROMPTSRC": CN(
            {
                **IVLP.OPTIONS["IVLP"],
                "N_CTX_VISION": 4,
                "N_CTX_TEXT": 4,
                "TEXT_LOSS_WEIGHT": 25.0,  # lambda_1, of the text self-consistency
                "IMAGE_LOSS_WEIGHT": 10.0,  # lambda_2, of the image self-consistency
                "GPA_MEAN": 15.0,  # epoch at which the Gaussian of the prompt aggregation peaks
                "GPA_STD": 1.0,  # its width in epochs
            }
        )
    }

    ALLOWED = {
        "TEXT_LOSS_WEIGHT": number(0),
        "IMAGE_LOSS_WEIGHT": number(0),
        "GPA_MEAN": number(-1e9, 1e9),
        "GPA_STD": number(0.001, 1e6),
    }

    mean_prompts: dict[str, Tensor] = {}  # of no epoch yet

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        gaussian_weights(cfg.OPTIM.MAX_EPOCH, cfg.TRAINER.PROMPTSRC.GPA_MEAN, cfg.TRAINER.PROMPTSRC.GPA_STD)

    def prepare(self) -> None:
        super().prepare()
        self.fixed_text_features = self.zero_shot_text(ENSEMBLE_TEMPLATES, normalize_each=False)  # [C, E]
        leaves = self.model.prompt_learner.tuned_tensors()
        self.mean_prompts = {key: torch.zeros_like(leaf) for key, leaf in leaves.items()}

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """The three self-consistency losses (the PromptSRC paper's Eq. 4-6)."""
        assert view.text_features is not None
        options = self.cfg.TRAINER.PROMPTSRC
        frozen_text = self.fixed_text_features
        if view.classes is not None:
            frozen_text = frozen_text[view.classes.to(self.device)]
        with torch.no_grad():
            frozen_image = in_shares(lambda rows: unit(self.model.clip.encode_image(rows)), view.images)
            frozen_logits = self.model.logits(frozen_image, frozen_text)
        divergence = F.kl_div(
            logits.log_softmax(dim=1), frozen_logits.log_softmax(dim=1), reduction="sum", log_target=True
        )
        return {
            "loss_scl_text": options.TEXT_LOSS_WEIGHT * F.l1_loss(view.text_features, frozen_text),
            "loss_scl_image": options.IMAGE_LOSS_WEIGHT * F.l1_loss(view.image_features, frozen_image),
            "loss_scl_logits": divergence / logits.numel(),
        }

    @torch.no_grad()
    def after_epoch(self) -> None:
        """Add the epoch's prompts to their Gaussian-weighted mean, which the last epoch ends with."""
        options = self.cfg.TRAINER.PROMPTSRC
        share = gaussian_weights(self.max_epoch, options.GPA_MEAN, options.GPA_STD)[self.epoch]
        for key, leaf in self.model.prompt_learner.tuned_tensors().items():
            self.mean_prompts[key] = self.mean_prompts[key].to(leaf.device) + share * leaf
            if self.epoch + 1 == self.max_epoch:
                leaf.copy_(self.mean_prompts[key])
        super().after_epoch()

    # -- the mean is part of what a run goes on from ---------------------------------------------------

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "mean_prompts": self.mean_prompts}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.mean_prompts = state["mean_prompts"]

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also the mean so far, until the last epoch has taken its place."""
        extras = super().checkpoint_extras(name)
        unfinished = self.epoch + 1 < self.max_epoch
        return {**extras, "mean_prompts": self.mean_prompts} if unfinished else extras

    def load_checkpoint_extras(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        super().load_checkpoint_extras(name, checkpoint, path)
        if checkpoint["epoch"] >= self.max_epoch:
            return
        if not checkpoint.get("mean_prompts"):
            raise ValueError(
                f"{path!r} lacks the mean of the prompts over its {checkpoint['epoch']} epochs, which the "
                "last epoch ends with, so no run can go on from it: train again in another --output-dir"
            )
        self.mean_prompts = checkpoint["mean_prompts"]


def gaussian_weights(epochs: int, mean: float, std: float) -> list[float]:
    """Weights of epochs 1 .. ``epochs``, a Gaussian density scaled to sum 1 (the PromptSRC paper's Eq. 7).

    Raises:
        ValueError: the density vanishes on all of them.
    """
    density = [math.exp(-((epoch - mean) ** 2) / (2 * std**2)) for epoch in range(1, epochs + 1)]
    if not (total := sum(density)):
        raise ValueError(
            f"TRAINER.PROMPTSRC.GPA_MEAN is {mean} and GPA_STD {std}: no epoch of OPTIM.MAX_EPOCH {epochs} "
            "gets any weight; bring the mean into the range of the epochs"
        )
    return [value / total for value in density]
