"""DPC on PromptKD: labelled images of the base classes, and the teacher's text prompts made dual too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dassl.config import CfgNode as CN
from dassl.config.rules import one_of
from dassl.data import DataManager
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptTrainer, Scope, View
from trainers.plugins.dpc import DPC, Reading
from trainers.plugins.dpc.batches import Ranking
from trainers.plugins.dpc.readings import RELEASED
from trainers.plugins.dpc.weighting import Rule
from trainers.promptkd.trainer import PromptKD


@dataclass(frozen=True)
class ReleasedStudent(Reading):
    """The authors' code on PromptKD: the text context alone is weighted; new classes see P's text."""

    def rule(self, name: str, weight_base: float, weight_new: float) -> Rule:
        base = weight_base if name == "ctx" else 1.0
        return super().rule(name, base, weight_new if name.startswith("vision") else 0.0)


_RELEASED = ReleasedStudent(**vars(replace(RELEASED, augments_negatives=False)))


@TRAINER_REGISTRY.register()
class PromptKD_DPC(DPC, PromptKD):
    """Dual teacher text prompts, student visual prompts and projection, on labelled images.

    ``released`` follows the authors' code as far as its records reach, but for four things. Deep text *and*
    visual prompts start from the tuned ones; theirs start at random, by mistake (a checkpoint of such a start
    runs as there: MODEL.INIT_WEIGHTS). The teacher that ranks hard negatives has its tuned context; theirs
    has "a photo of a". A random top-up never draws the last class. With TRAINER.MODAL cross, classes that P'
    was not tuned on see w_n P' + (1 - w_n) P; theirs see P'.
    """

    OPTIONS = {"DPC": CN({"QUERY": "teacher"})}  # who ranks hard negatives: the frozen teacher or student

    ALLOWED = {"QUERY": one_of("teacher", "student")}

    @property
    def reading(self) -> Reading:
        reading = super().reading
        return _RELEASED if reading is RELEASED else reading

    # -- labelled images of the chosen classes ------------------------------------------------------------

    def build_data_manager(self) -> DataManager:
        """``val`` is the test images, as in the original."""
        manager = DataManager(self.cfg)
        manager.val_loader = manager.test_loader
        return manager

    def tested(self, split: str) -> Scope:
        return self.scope

    # -- the teacher's text prompts are part of P -----------------------------------------------------------

    def student_text(self) -> dict[str, int]:
        sizes = self.teacher_prompts.sizes
        return {"text_length": sizes.text_length, "text_depth": sizes.text_depth}

    def tuned_state(self) -> Mapping[str, Tensor]:
        return {**self.teacher_prompts.text_state(), **super().tuned_state()}

    # -- training -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def rank(self, images: Tensor) -> Ranking:
        if self.cfg.TRAINER.DPC.QUERY == "student":
            return super().rank(images)
        return Ranking(self.model.teacher_logits(self._to_device(images)), None)

    def classification_loss(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        if self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return super().classification_loss(view, logits)
        return PromptTrainer.classification_loss(self, view, logits)  # the labels are known: no distillation
