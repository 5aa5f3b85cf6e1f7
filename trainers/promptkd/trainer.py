"""PromptKD: distillation on the images of all classes.

Shape legend: B images, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import clip
from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.allowed import ACTIVATIONS
from dassl.config.rules import above, existing_file, number, one_of, text, whole
from dassl.data import DataManager
from dassl.data.datasets import Datum
from dassl.data.transforms import is_fixed
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptedCLIP, PromptLearner, PromptTrainer, Scope, View
from trainers.core.door import declared
from trainers.core.prompts import MOST_TOKENS
from trainers.promptkd.learner import StudentLearner
from trainers.promptkd.model import DistilledCLIP
from trainers.promptkd.teacher import MODEL_NAME, TeacherPrompts, find_teacher

logger = logging.getLogger(__name__)


@TRAINER_REGISTRY.register()
class PromptKD(PromptTrainer):
    """Distils on the images of all classes, whose labels are not used.

    With ``TRAINER.MODAL`` base2novel every class, base or new, is part of the training images, and
    ``DATASET.SUBSAMPLE_CLASSES`` chooses only which classes are tested: ``all``, as in the original, the new
    ones. The validation images are test images, as in the original: of the base classes, or with ``cross``
    of all that are tested.
    """

    NODE = "PROMPTKD"
    MODEL_NAME = MODEL_NAME
    OPTIONS = {
        "MODAL": "base2novel",  # or cross: one set of classes, for cross-dataset transfer
        "PROMPTKD": CN(
            {
                "N_CTX_VISION": 4,  # visual prompt tokens P of the student
                "N_CTX_TEXT": 4,  # context tokens M; the teacher's checkpoint decides
                "CTX_INIT": "a photo of a",  # words that the teacher's context stands for
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
                "PROMPT_DEPTH_VISION": 9,  # blocks of the student's image tower with prompts
                "PROMPT_DEPTH_TEXT": 9,  # the teacher's checkpoint decides; kept for upstream's files
                "TEMPERATURE": 1.0,  # tau of the distillation
                "KD_WEIGHT": 1000.0,  # of the distillation loss
                "TEACHER_NAME": "ViT-L/14",  # CLIP of the teacher
                "TEACHER_PATH": "",  # its weights file, instead of the published one
                "TEACHER_ACTIVATION": "",  # as MODEL.BACKBONE.ACTIVATION, of the teacher
                "TEACHER_HEAD_WIDTH": 0,  # as MODEL.BACKBONE.HEAD_WIDTH, of the teacher
                "TEACHER_DIR": "",  # output folder of the teacher's PromptSRC run; "": see `usual_teacher`
            }
        ),
    }

    ALLOWED = {
        "MODAL": one_of("base2novel", "cross"),
        "N_CTX_VISION": whole(1, MOST_TOKENS),
        "N_CTX_TEXT": whole(1, MOST_TOKENS),
        "PROMPT_DEPTH_VISION": whole(1),
        "PROMPT_DEPTH_TEXT": whole(1),
        "TEMPERATURE": above(0),
        "KD_WEIGHT": number(0),
        "TEACHER_NAME": text(),
        "TEACHER_PATH": existing_file(),
        "TEACHER_ACTIVATION": one_of(*ACTIVATIONS, ""),
        "TEACHER_HEAD_WIDTH": whole(0, 16384),
        "TEACHER_DIR": text(),
    }

    def find_inputs(self) -> None:
        super().find_inputs()
        cfg = self.cfg
        self.teacher_checkpoint = find_teacher(cfg.TRAINER.PROMPTKD, cfg.DATASET.NAME, cfg.TRAINER.MODAL)

    # -- which classes ----------------------------------------------------------------------------------

    def build_data_manager(self) -> DataManager:
        """Training images of all classes; ``val`` tests base classes, ``test`` those that are asked for."""
        if self.cfg.TRAINER.MODAL == "cross":
            manager = super().build_data_manager()
            manager.val_loader = manager.test_loader
            return manager
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATASET.SUBSAMPLE_CLASSES = "all"
        manager = DataManager(cfg)
        everything = Scope.of(cfg, manager.dataset)
        test = manager.dataset.test
        manager.val_loader = manager.build_test_loader(_images_of(test, everything.half("base")))
        tested = everything.half(self._asked_for)
        manager.test_loader = manager.build_test_loader(_images_of(test, tested))
        return manager

    def calibration_images(self) -> Sequence[Datum]:
        return _images_of(super().calibration_images(), self.tested("val"))

    @property
    def _asked_for(self) -> str:
        """Which classes ``test`` is on: the new ones where a command names none, as in the original."""
        subset = self.cfg.DATASET.SUBSAMPLE_CLASSES
        return "new" if subset == "all" else subset

    def tested(self, split: str) -> Scope:
        if self.cfg.TRAINER.MODAL == "cross":
            return self.scope
        return self.scope.half("base" if split == "val" else self._asked_for)

    def test_text_features(self, split: str) -> Tensor | None:
        tested = self.tested(split)
        return self.model.text_features(None if tested.names == self.scope.names else tested.indices())

    # -- model ------------------------------------------------------------------------------------------

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        options = self.cfg.TRAINER.PROMPTKD
        self.teacher_prompts = TeacherPrompts(self.teacher_checkpoint)
        if (length := self.teacher_prompts.sizes.text_length) != options.N_CTX_TEXT:
            logger.warning(
                "TRAINER.PROMPTKD.N_CTX_TEXT is %d, but the teacher has %d context tokens: these are used",
                options.N_CTX_TEXT, length,
            )  # fmt: skip
        said = declared(options.TEACHER_ACTIVATION, options.TEACHER_HEAD_WIDTH)
        try:
            self.teacher_clip = clip.load(options.TEACHER_PATH or options.TEACHER_NAME, self.device, **said)
        except ValueError as error:
            said_by = "TRAINER.PROMPTKD.TEACHER_ACTIVATION and TEACHER_HEAD_WIDTH"
            raise ValueError(f"the teacher's CLIP, which {said_by} declare: {error}") from error
        return StudentLearner(
            clip_model,
            self.teacher_clip,
            classnames,
            context=options.CTX_INIT,
            vision_length=options.N_CTX_VISION,
            vision_depth=options.PROMPT_DEPTH_VISION,
            **self.student_text(),
        )

    def student_text(self) -> dict[str, int]:
        """Length and depth of the text prompts that the student tunes: none."""
        return {"text_length": 0, "text_depth": 0}

    def assemble(self, clip_model: CLIP, learner: PromptLearner) -> PromptedCLIP:
        assert isinstance(learner, StudentLearner)
        options = self.cfg.TRAINER.PROMPTKD
        name, classnames = options.TEACHER_PATH or options.TEACHER_NAME, self.dm.dataset.classnames
        teacher = self.teacher_prompts.on(self.teacher_clip, name, classnames, options.CTX_INIT)
        clip.set_precision(self.teacher_clip, self.precision.towers)
        return DistilledCLIP(clip_model, learner, teacher.to(self.device))

    # -- training ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        super().prepare()
        self._known_teacher_logits: dict[str, Tensor] = {}

    def classification_loss(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """Kullback-Leibler divergence from the teacher's class probabilities (the PromptKD paper's Eq. 4)."""
        options = self.cfg.TRAINER.PROMPTKD
        tau = options.TEMPERATURE
        teacher = (self.teacher_logits(view.images, view.impaths) / tau).softmax(dim=1)
        divergence = F.kl_div((logits / tau).log_softmax(dim=1), teacher, reduction="sum")
        return {"loss_kd": options.KD_WEIGHT * divergence * tau**2 / logits.numel()}

    def teacher_logits(self, images: Tensor, impaths: Sequence[str]) -> Tensor:
        """[B, C]; computed once an image where every epoch shows the same view of it."""
        if not is_fixed(self.dm.tfm_train):
            return self.model.teacher_logits(images)
        known = self._known_teacher_logits
        unknown = [i for i, path in enumerate(impaths) if path not in known]
        if unknown:
            rows = self.model.teacher_logits(images[unknown])
            known.update((impaths[i], row) for i, row in zip(unknown, rows, strict=True))
        return torch.stack([known[path] for path in impaths])


def _images_of(items: Sequence[Datum], scope: Scope) -> list[Datum]:
    """Those of the classes of ``scope``, labelled from 0."""
    labels = range(scope.first, scope.first + len(scope.names))
    return [
        Datum(item.impath, item.label - scope.first, item.domain, item.classname)
        for item in items
        if item.label in labels
    ]
