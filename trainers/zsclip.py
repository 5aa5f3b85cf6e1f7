"""Zero-shot CLIP with hand-written prompts: one template, or an ensemble of them."""

from __future__ import annotations

import os

from torch import Tensor, nn

from dassl.engine import TRAINER_REGISTRY
from dassl.engine.processes import by_main
from dassl.utils import save_checkpoint
from trainers.core.clip_trainer import CLIPTrainer
from trainers.core.door import load_clip
from trainers.core.model import unit
from trainers.core.templates import SELECTED_TEMPLATES, ensemble_features, template_of


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(CLIPTrainer):
    """CLIP with the data set's template (Eq. 1 of the DPC paper)."""

    READS = ("DATASET.TEMPLATE",)

    def templates(self) -> list[str]:
        return [template_of(self.cfg, self.dm.dataset)]

    def build_model(self) -> None:
        self.model = load_clip(self.cfg).to(self.device).requires_grad_(False)
        self.text_features = ensemble_features(self.model, self.scope.names, self.templates())

    def train(self) -> None:  # type: ignore[override]
        raise ValueError(f"{type(self).__name__} has nothing to train: add --eval-only")

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Nothing to load."""

    def test(self, split: str | None = None) -> float:
        """Also leaves what predict.py and export.py need to know of it, in the place of a checkpoint."""
        if self.cfg.TEST.TEMPERATURE_SCALING:
            self.fit_temperature()
        accuracy = super().test(split)
        by_main(self._write_classifier)
        return accuracy

    def _write_classifier(self) -> None:
        state = {
            **self.checkpoint_origin(),
            "state_dict": {},
            "epoch": 0,
            "trainer": type(self).__name__,
            "dataset": self.scope.dataset,
            "classnames": list(self.scope.names),
        }
        if self.temperature is not None:
            state["temperature"] = self.temperature
        save_checkpoint(state, os.path.join(self.output_dir, "zero_shot"))

    def frozen_image_tower(self) -> nn.Module:
        return self.model.visual

    def test_image_features(self, images: Tensor) -> Tensor:
        return unit(self.model.encode_image(images))

    def test_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.model.logit_scale.exp() * features @ self.text_features.t()


@TRAINER_REGISTRY.register()
class ZeroshotCLIP2(ZeroshotCLIP):
    """CLIP with prompt ensembling over seven selected templates and the data set's own."""

    def templates(self) -> list[str]:
        # the seven were selected on the source of the cross-dataset protocols, for that data set
        own = [] if self.scope.is_source and not self.cfg.DATASET.TEMPLATE else super().templates()
        return [*SELECTED_TEMPLATES, *own]
