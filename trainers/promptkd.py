"""PromptKD: visual prompts that imitate a larger teacher on unlabelled images (Li et al., CVPR 2024).

Shape legend: B images, C classes, E_t width of the teacher's joint embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

import clip
from clip import CLIP
from dassl.data import DataManager
from dassl.data.datasets import Datum
from dassl.data.transforms import is_fixed
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.checkpoint import find_checkpoint
from dassl.evaluation import build_evaluator
from trainers.base import (
    PromptedCLIP,
    PromptTrainer,
    StepOutput,
    copy_tensors,
    encode_prompts,
    read_prompts,
)
from trainers.ivlp import VisionLanguageLearner
from trainers.precision import tower_dtype
from trainers.prompts import PromptLearner

logger = logging.getLogger(__name__)

_TEACHER_MODEL = "VLPromptLearner"


class StudentLearner(VisionLanguageLearner):
    """Visual prompts of the student and a projection of its image features to the teacher's width."""

    def __init__(self, student: CLIP, teacher: CLIP, classnames: Sequence[str], **options: Any) -> None:
        super().__init__(student, classnames, text_clip=teacher, **options)
        width = teacher.arch.embed_dim
        self.projection = nn.Sequential(
            nn.Conv2d(student.arch.embed_dim, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def checkpoint_key(self, name: str) -> str:
        part, _, rest = name.partition(".")
        return f"VPT_image_trans.conv1.{rest}" if part == "projection" else super().checkpoint_key(name)


class DistilledCLIP(PromptedCLIP):
    """The student's image tower against the teacher's text tower."""

    prompt_learner: StudentLearner
    teacher_text_features: Tensor | None

    def __init__(self, student: CLIP, learner: StudentLearner, teacher: PromptedCLIP) -> None:
        super().__init__(student, learner)
        self.teacher = teacher.requires_grad_(False)
        with torch.no_grad():
            self.register_buffer(
                "teacher_text_features", teacher.text_features(), persistent=False
            )  # [C, E_t]

    def text_features(self, classes: Tensor | None = None) -> Tensor | None:
        """The teacher's, [L, E_t], frozen or with the learner's prompts."""
        if hasattr(self.prompt_learner, "ctx"):
            return encode_prompts(self.teacher.clip, self.prompt_learner.text_prompts(classes))
        features = self.teacher_text_features
        if features is None or classes is None:
            return features
        return features[classes.to(features.device)]

    def image_features(self, images: Tensor) -> Tensor:
        """The student's, [B, E_t]."""
        features = self.clip.encode_image(images, *self.prompt_learner.image_prompts()).float()
        return F.normalize(self.prompt_learner.projection(features[..., None, None]).flatten(1), dim=-1)

    @torch.no_grad()
    def teacher_logits(self, images: Tensor) -> Tensor:
        """[B, C]."""
        return self.teacher.class_logits(
            self.teacher.image_features(images), self.teacher_text_features, None
        )


@TRAINER_REGISTRY.register()
class PromptKD(PromptTrainer):
    """Distils on the images of all classes, whose labels are not used.

    With ``TRAINER.MODAL`` base2novel every class, base or new, is part of the training images, and
    ``DATASET.SUBSAMPLE_CLASSES`` chooses only which classes are tested.
    """

    NODE = "PROMPTKD"
    MODEL_NAME = _TEACHER_MODEL
    OPTIONS = {
        "MODAL": "base2novel",  # or cross: one set of classes, for cross-dataset transfer
        "PROMPTKD": CN(
            {
                "N_CTX_VISION": 4,  # visual prompt tokens P of the student
                "N_CTX_TEXT": 4,  # context tokens M; the teacher's checkpoint decides
                "CTX_INIT": "a photo of a",  # words that the teacher's context stands for
                "PREC": "fp16",  # fp32, fp16, bf16 or amp
                "PROMPT_DEPTH_VISION": 9,  # blocks of the student's image tower with prompts
                "PROMPT_DEPTH_TEXT": 9,  # the teacher's checkpoint decides; kept for upstream's files
                "TEMPERATURE": 1.0,  # tau of the distillation
                "KD_WEIGHT": 1000.0,  # of the distillation loss
                "TEACHER_NAME": "ViT-L/14",  # CLIP of the teacher
                "TEACHER_PATH": "",  # its weights file, instead of the published one
                "TEACHER_DIR": "",  # output folder of the PromptSRC run that tuned the teacher's prompts
            }
        ),
    }

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        self.check_positive(cfg, "N_CTX_VISION", "PROMPT_DEPTH_VISION")
        if cfg.TRAINER.MODAL not in ("base2novel", "cross"):
            raise ValueError(f"TRAINER.MODAL is {cfg.TRAINER.MODAL!r}; it must be 'base2novel' or 'cross'")
        options = cfg.TRAINER.PROMPTKD
        if not options.TEACHER_DIR:
            raise ValueError(
                "TRAINER.PROMPTKD.TEACHER_DIR is empty: it must be the folder that holds "
                f"{_TEACHER_MODEL}/ of a teacher tuned with PromptSRC "
                "(scripts/promptkd/base2new_train.sh makes one)"
            )
        if options.TEMPERATURE <= 0:
            raise ValueError(f"TRAINER.PROMPTKD.TEMPERATURE is {options.TEMPERATURE}; it must be above 0")
        try:
            self.teacher_checkpoint = find_checkpoint(options.TEACHER_DIR, _TEACHER_MODEL)
        except FileNotFoundError:  # ours has its last epoch only
            self.teacher_checkpoint = find_checkpoint(
                options.TEACHER_DIR, _TEACHER_MODEL, -1, "TRAINER.PROMPTKD.TEACHER_DIR"
            )

    # -- data -------------------------------------------------------------------------------------

    def build_data_manager(self) -> DataManager:
        """Training images of all classes; ``val`` tests base classes, ``test`` those that are asked for."""
        if self.cfg.TRAINER.MODAL == "cross":
            return super().build_data_manager()
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATASET.SUBSAMPLE_CLASSES = "all"
        manager = DataManager(cfg)
        manager.val_loader = manager.build_test_loader(_images_of(manager, base=True))
        if (subset := self.cfg.DATASET.SUBSAMPLE_CLASSES) != "all":
            manager.test_loader = manager.build_test_loader(_images_of(manager, base=subset == "base"))
        return manager

    def tested_classes(self, split: str) -> Tensor | None:
        """Indices of the classes that ``split`` holds; None for all."""
        if self.cfg.TRAINER.MODAL == "cross":
            return None
        count = _base_count(self.num_classes)
        subset = "base" if split == "val" else self.cfg.DATASET.SUBSAMPLE_CLASSES
        if subset == "all":
            return None
        return torch.arange(count) if subset == "base" else torch.arange(count, self.num_classes)

    def test(self, split: str | None = None) -> float:
        names = self.tested_classnames(split or self.cfg.TEST.SPLIT)
        self.evaluator = build_evaluator(self.cfg, lab2cname=dict(enumerate(names)))
        return super().test(split)

    def tested_classnames(self, split: str) -> list[str]:
        """The names of the classes that ``split`` tests; ``logits.npz`` names all, as upstream does."""
        names, classes = self.dm.dataset.classnames, self.tested_classes(split)
        return list(names) if classes is None else [names[label] for label in classes.tolist()]

    def test_text_features(self, split: str) -> Tensor | None:
        return self.model.text_features(self.tested_classes(split))

    # -- model ------------------------------------------------------------------------------------

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        options = self.cfg.TRAINER.PROMPTKD
        self._known_teacher_logits: dict[str, Tensor] = {}
        setting = "TRAINER.PROMPTKD.TEACHER_DIR"
        self.teacher_state = read_prompts(setting, self.teacher_checkpoint, "PromptSRC")["state_dict"]
        self._warn_of_other_sizes(prompt_sizes(self.teacher_state, self.teacher_checkpoint))
        self.teacher_clip = clip.load(options.TEACHER_PATH or options.TEACHER_NAME, self.device)
        return StudentLearner(
            clip_model,
            self.teacher_clip,
            classnames,
            context=options.CTX_INIT,
            vision_length=options.N_CTX_VISION,
            vision_depth=options.PROMPT_DEPTH_VISION,
            **self.student_text(),
        )

    def _warn_of_other_sizes(self, teacher: PromptSizes) -> None:
        """The teacher's checkpoint decides; a setting that says otherwise has no effect."""
        options = self.cfg.TRAINER.PROMPTKD
        if teacher.text_length != options.N_CTX_TEXT:
            logger.warning(
                "TRAINER.PROMPTKD.N_CTX_TEXT is %d, but the teacher has %d context tokens: these are used",
                options.N_CTX_TEXT,
                teacher.text_length,
            )

    def student_text(self) -> dict[str, int]:
        """Length and depth of the text prompts that the student tunes: none."""
        return {"text_length": 0, "text_depth": 0}

    def assemble(self, clip_model: CLIP, learner: PromptLearner) -> PromptedCLIP:
        assert isinstance(learner, StudentLearner)
        sizes = prompt_sizes(self.teacher_state, self.teacher_checkpoint)
        context = self.cfg.TRAINER.PROMPTKD.CTX_INIT
        prompts = VisionLanguageLearner(self.teacher_clip, self.dm.dataset.classnames, context, *sizes)
        try:
            copy_tensors(self.teacher_state, prompts.stored_tensors())
        except ValueError as error:
            raise ValueError(f"TRAINER.PROMPTKD.TEACHER_DIR: {self.teacher_checkpoint}: {error}") from error
        clip.set_precision(self.teacher_clip, tower_dtype(self.precision))
        teacher = PromptedCLIP(self.teacher_clip, prompts).to(self.device)
        return DistilledCLIP(clip_model, learner, teacher)

    def compute_loss(self, batch: Mapping[str, Any]) -> StepOutput:
        """Kullback-Leibler divergence from the teacher's class probabilities (the PromptKD paper's Eq. 4)."""
        options = self.cfg.TRAINER.PROMPTKD
        images, labels = self.parse_batch_train(batch)
        features = self.model.image_features(images)
        logits = self.model.class_logits(features, self.model.text_features(), None)
        tau = options.TEMPERATURE
        teacher = (self.teacher_logits(images, batch["impath"]) / tau).softmax(dim=1)
        divergence = F.kl_div((logits / tau).log_softmax(dim=1), teacher, reduction="sum")
        loss = options.KD_WEIGHT * divergence * tau**2 / logits.numel()
        return StepOutput({"loss_kd": loss}, logits, labels)

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


class PromptSizes(NamedTuple):
    """Sizes of the prompts of a `VisionLanguageLearner`, in the order of its arguments."""

    text_length: int
    text_depth: int
    vision_length: int
    vision_depth: int


def prompt_sizes(state: Mapping[str, Tensor], path: Path) -> PromptSizes:
    """Sizes of the prompts in the checkpoint at ``path``.

    Raises:
        ValueError: it holds no such prompts.
    """

    def depth(tower: str) -> int:
        return 1 + sum(key.startswith(tower) and key.endswith("VPT_shallow") for key in state)

    try:
        text, vision = state["prompt_learner.ctx"], state["image_encoder.VPT"]
    except KeyError as error:
        raise ValueError(
            f"TRAINER.PROMPTKD.TEACHER_DIR: {path} lacks {error}: it is not PromptSRC's"
        ) from error
    return PromptSizes(len(text), depth("text_encoder."), len(vision), depth("image_encoder."))


def _base_count(classes: int) -> int:
    """Number of base classes, the first half rounded up."""
    return -(-classes // 2)


def _images_of(manager: DataManager, base: bool) -> list[Datum]:
    """Test images of the base (or new) classes, labelled from 0."""
    first_new = _base_count(manager.num_classes)
    start = 0 if base else first_new
    return [
        Datum(item.impath, item.label - start, item.domain, item.classname)
        for item in manager.dataset.test
        if (item.label < first_new) == base
    ]
