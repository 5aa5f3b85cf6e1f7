"""KgCoOp: CoOp kept close to a hand-written prompt (Yao et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import number
from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp, CoOpLearner
from trainers.core import PromptLearner, View
from trainers.core.templates import template_of


class KgCoOpLearner(CoOpLearner):
    LEFTOVERS = r"bias_vectors$|meta_net\.|adapter\."


@TRAINER_REGISTRY.register()
class KgCoOp(CoOp):
    OPTIONS = {"COOP": CN({"W": 8.0})}  # lambda, of the distance between tuned and hand-written text features
    ALLOWED = {"W": number(0)}
    READS = ("DATASET.TEMPLATE",)

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        return KgCoOpLearner(clip_model, classnames, self.cfg.TRAINER.COOP)

    def prepare(self) -> None:
        super().prepare()
        self.fixed_text_features = self.zero_shot_text([template_of(self.cfg, self.dm.dataset)])  # [C, E]

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """Mean cosine distance of the classes' text features (the KgCoOp paper's Eq. 5)."""
        assert view.text_features is not None
        fixed = self.fixed_text_features if view.classes is None else self.fixed_text_features[view.classes]
        similarity = (view.text_features * fixed).sum(dim=1).mean()
        return {"loss_kg": self.cfg.TRAINER.COOP.W * (1 - similarity)}
