"""Zero-shot CLIP with hand-written prompts: one template, or an ensemble of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from dassl.engine import TRAINER_REGISTRY
from trainers.base import load_clip
from trainers.features import FeatureTrainer
from trainers.templates import SELECTED_TEMPLATES, dataset_template, ensemble_features


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(FeatureTrainer):
    """CLIP with the data set's template (Eq. 1 of the DPC paper)."""

    OPTIONS: dict[str, CN] = {}

    def templates(self) -> list[str]:
        return [dataset_template(self.cfg.DATASET.NAME)]

    def build_model(self) -> None:
        self.model = load_clip(self.cfg).to(self.device).requires_grad_(False)
        self.text_features = ensemble_features(self.model, self.dm.dataset.classnames, self.templates())

    def train(self) -> None:  # type: ignore[override]
        raise ValueError(f"{type(self).__name__} has nothing to train: add --eval-only")

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Nothing to load."""

    def frozen_image_tower(self) -> nn.Module:
        return self.model.visual

    def test_image_features(self, images: Tensor) -> Tensor:
        return F.normalize(self.model.encode_image(images), dim=-1)

    def test_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.model.logit_scale.exp() * features @ self.text_features.t()


@TRAINER_REGISTRY.register()
class ZeroshotCLIP2(ZeroshotCLIP):
    """CLIP with prompt ensembling over seven selected templates and the data set's own."""

    def templates(self) -> list[str]:
        own = [] if self.cfg.DATASET.NAME == "ImageNet" else super().templates()
        return [*SELECTED_TEMPLATES, *own]
