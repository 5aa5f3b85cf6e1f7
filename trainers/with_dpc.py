"""DPC on each prompt learner: a mixin in front of the backbone is all it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode as CN

from dassl.data import DataManager
from dassl.data.datasets import Datum
from dassl.engine import TRAINER_REGISTRY
from trainers.base import PromptTrainer, StepOutput
from trainers.cocoop import CoCoOp
from trainers.coop import CoOp
from trainers.dpc import DPC
from trainers.dpc.loader import Ranking
from trainers.ivlp import IVLP
from trainers.maple import MaPLe
from trainers.promptkd import PromptKD, prompt_sizes
from trainers.promptsrc import PromptSRC


@TRAINER_REGISTRY.register()
class CoOp_DPC(DPC, CoOp):
    """Dual text context."""


@TRAINER_REGISTRY.register()
class CoCoOp_DPC(DPC, CoCoOp):
    """Dual text context and dual meta-network."""


@TRAINER_REGISTRY.register()
class IVLP_DPC(DPC, IVLP):
    """Dual text and visual prompts at all depths."""


@TRAINER_REGISTRY.register()
class MaPLe_DPC(DPC, MaPLe):
    """Dual text prompts at all depths and dual projections into the image tower."""

    DEFAULT_WEIGHT_BASE = 1.0


@TRAINER_REGISTRY.register()
class PromptSRC_DPC(DPC, PromptSRC):
    """Dual text and visual prompts at all depths, kept close to zero-shot CLIP as in PromptSRC."""


@TRAINER_REGISTRY.register()
class PromptKD_DPC(DPC, PromptKD):
    """Dual teacher text prompts, student visual prompts and projection, on labelled images.

    ``released`` follows the authors' code where it is sane: only the text context is weighted in
    training; on new classes the text prompts and the projection are P alone. Deep text prompts start
    from the teacher's in both variants (the authors' start at random by mistake), and a random top-up
    never draws the last class.
    """

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if (query := cfg.TRAINER.DPC.QUERY) not in ("teacher", "student"):
            raise ValueError(f"TRAINER.DPC.QUERY is {query!r}; it must be 'teacher' or 'student'")

    def build_data_manager(self) -> DataManager:
        """Labelled images of the chosen classes; ``val`` is the test images of base classes."""
        manager = DataManager(self.cfg)
        if self.cfg.DATASET.SUBSAMPLE_CLASSES == "base":
            manager.val_loader = manager.test_loader
        return manager

    def tested_classes(self, split: str) -> None:
        return None

    def student_text(self) -> dict[str, int]:
        sizes = prompt_sizes(self.teacher_state, self.teacher_checkpoint)
        return {"text_length": sizes.text_length, "text_depth": sizes.text_depth}

    def tuned_state(self) -> Mapping[str, Tensor]:
        text = {k: v for k, v in self.teacher_state.items() if k == "prompt_learner.ctx" or "text_enc" in k}
        return {**text, **super().tuned_state()}

    def weights_of(self, name: str) -> tuple[float, float]:
        weight_base, weight_new = super().weights_of(name)
        if self.cfg.TRAINER.DPC.VARIANT == "paper":
            return weight_base, weight_new
        return (weight_base if name == "ctx" else 1.0), (weight_new if name.startswith("vision") else 0.0)

    def load_negative(self, item: Datum, seed: int) -> Tensor:
        released = self.cfg.TRAINER.DPC.VARIANT == "released"  # which takes the test transform here
        return self.dm.load_item(item, seed, is_train=not released)

    @torch.no_grad()
    def rank(self, images: Tensor) -> Ranking:
        if self.cfg.TRAINER.DPC.QUERY == "student":
            return super().rank(images)
        return Ranking(self.model.teacher_logits(self._to_device(images)), None)

    def compute_loss(self, batch: Mapping[str, Any]) -> StepOutput:
        if self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return super().compute_loss(batch)
        return PromptTrainer.compute_loss(self, batch)  # not distillation: the labels are known here
