"""DPC as a mixin: the second stage of any prompt-tuning trainer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode as CN

from clip import CLIP
from dassl.data.data_manager import num_workers
from dassl.data.datasets import Datum
from dassl.engine.checkpoint import find_checkpoint
from trainers.base import PromptTrainer, StepOutput, View, copy_tensors, read_prompts
from trainers.dpc.loader import HardNegativeLoader, Ranking
from trainers.dpc.loss import contrastive_loss
from trainers.dpc.weighting import DualPrompts
from trainers.prompts import PromptLearner

logger = logging.getLogger(__name__)


class DPC(PromptTrainer):
    """Put in front of a `PromptTrainer`: ``class CoOp_DPC(DPC, CoOp)``.

    Every tensor that the prompt learner tunes becomes a dual prompt: P from the checkpoint in
    ``TRAINER.DPC.BACKBONE_DIR``, frozen, and P' cloned from it and tuned on hard negatives.
    """

    OPTIONS = {
        "DPC": CN(
            {
                "VARIANT": "paper",  # paper: the equations; released: what the authors' code computes
                "BACKBONE_DIR": "",  # output folder of the run that tuned P
                "BACKBONE_EPOCH": -1,  # its epoch; -1 is the last
                "WEIGHT_BASE": None,  # w_b, Eq. 12, in (0, 1]; None: 0.2, for MaPLe 1.0
                "WEIGHT_NEW": 1e-6,  # w_n, Eq. 13, in [0, 1]
                "QUERY": "teacher",  # PromptKD only: who ranks hard negatives, the frozen teacher or student
                "TOPK": 8,  # K of the negative sampler, at least 2; clamped to the number of classes
                "NEGATIVE_POOL": "auto",  # negatives' images: fewshot, train (full split) or auto, by variant
                "KEEP_BACKBONE_LOSS": True,  # the backbone's losses but its cross-entropy, beside Eq. 9
                "HARD_NEGATIVES": True,  # ablation: off trains P' with the backbone's own loss
                "WEIGHTING": True,  # ablation: off uses P' alone on base classes (w_b = 1)
                "DECOUPLING": True,  # ablation: off uses the base classes' prompt on new classes too
            }
        )
    }

    DEFAULT_WEIGHT_BASE = 0.2

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.DPC
        _check_choice("VARIANT", options.VARIANT, ("paper", "released"))
        _check_choice("NEGATIVE_POOL", options.NEGATIVE_POOL, ("auto", "fewshot", "train"))
        if options.WEIGHT_BASE is not None and not 0 < options.WEIGHT_BASE <= 1:
            raise ValueError(f"TRAINER.DPC.WEIGHT_BASE is {options.WEIGHT_BASE}; w_b must be in (0, 1]")
        if not 0 <= options.WEIGHT_NEW <= 1:
            raise ValueError(f"TRAINER.DPC.WEIGHT_NEW is {options.WEIGHT_NEW}; w_n must be in [0, 1]")
        if options.TOPK < 2:
            raise ValueError(
                f"TRAINER.DPC.TOPK is {options.TOPK}; K counts the true class, so it must be at least 2"
            )
        if not options.BACKBONE_DIR:
            raise ValueError(
                "TRAINER.DPC.BACKBONE_DIR is empty: DPC continues from tuned prompts. "
                f"Train {self.backbone_name} first and give its output folder."
            )
        self.backbone_checkpoint = find_checkpoint(
            options.BACKBONE_DIR, self.MODEL_NAME, options.BACKBONE_EPOCH, "TRAINER.DPC.BACKBONE_DIR"
        )
        if not options.HARD_NEGATIVES and options.NEGATIVE_POOL != "auto":
            logger.warning("TRAINER.DPC.NEGATIVE_POOL has no effect with TRAINER.DPC.HARD_NEGATIVES off")
        if not options.DECOUPLING and options.WEIGHT_NEW != DPC.OPTIONS["DPC"].WEIGHT_NEW:
            logger.warning("TRAINER.DPC.WEIGHT_NEW has no effect with TRAINER.DPC.DECOUPLING off")

    @property
    def backbone_name(self) -> str:
        """The trainer whose prompts DPC continues from."""
        ancestors = type(self).__mro__
        return ancestors[ancestors.index(DPC) + 1].__name__

    @property
    def weight_base(self) -> float:
        """w_b of this run."""
        options = self.cfg.TRAINER.DPC
        given = self.DEFAULT_WEIGHT_BASE if options.WEIGHT_BASE is None else options.WEIGHT_BASE
        return given if options.WEIGHTING else 1.0

    # -- dual prompts -----------------------------------------------------------------------------

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        """The backbone's learner with its tuned tensors made dual (Sec. 3.2)."""
        learner = super().build_learner(clip_model, classnames)
        try:
            copy_tensors(self.tuned_state(), learner.stored_tensors())
        except ValueError as error:
            raise ValueError(f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint}: {error}") from error
        self.dual_prompts = DualPrompts(learner, self.weights_of, self.cfg.TRAINER.DPC.VARIANT)
        self.tuned_on: tuple[str, list[str]] | None = None
        return learner

    def tuned_state(self) -> Mapping[str, Tensor]:
        """P: the tensors of the backbone's checkpoint.

        Raises:
            ValueError: another method of ours wrote it.
        """
        setting = "TRAINER.DPC.BACKBONE_DIR"
        self.backbone = read_prompts(setting, self.backbone_checkpoint, self.backbone_name)
        return self.backbone["state_dict"]

    def weights_of(self, name: str) -> tuple[float, float]:
        """(w_b, w_n) of the learner's parameter ``name``."""
        return self.weight_base, self.cfg.TRAINER.DPC.WEIGHT_NEW

    def set_model_mode(self, mode: str = "train", names: str | Iterable[str] | None = None) -> None:
        """Training shows P'; evaluation the mix for the classes of this run."""
        super().set_model_mode(mode, names)
        self.dual_prompts.show(
            "parallel" if mode == "train" else "base" if self.on_source_classes() else "new"
        )

    def on_source_classes(self) -> bool:
        """Whether this run's classes are among those that P' was tuned on: these get w_b, all others w_n."""
        cfg = self.cfg
        if not cfg.TRAINER.DPC.DECOUPLING:
            return True
        if self.tuned_on is not None:
            dataset, classnames = self.tuned_on
            return self._is_this_data_set(dataset) and set(self.dm.dataset.classnames) <= set(classnames)
        # A checkpoint of the original repository doesn't say: its rule.
        subsample = cfg.DATASET.SUBSAMPLE_CLASSES
        return subsample == "base" or (subsample == "all" and cfg.DATASET.NAME == "ImageNet")

    # -- training ---------------------------------------------------------------------------------

    def before_train(self) -> None:
        self._check_backbone_classes()
        super().before_train()
        self.tuned_on = (self.dm.dataset.name, list(self.dm.dataset.classnames))
        if self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            with torch.no_grad(), self.dual_prompts.showing("tuned"), self.autocast():
                self._tuned_text_features = self.model.text_features()  # frozen: once per run
            self.train_loader_x = self._hard_negative_loader()

    def _check_backbone_classes(self) -> None:
        """Raise ValueError when P was tuned on other classes than P' is going to be."""
        if (source := _tuned_on(self.backbone)) is None:
            return
        dataset, classnames = source
        if not self._is_this_data_set(dataset) or not set(self.dm.dataset.classnames) <= set(classnames):
            raise ValueError(
                f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint} was tuned on other classes "
                f"({dataset}: {', '.join(classnames[:3])}, ...) than this run's"
            )

    def _is_this_data_set(self, name: str) -> bool:
        # checkpoints written before data sets of one's own had names call each of them Folder
        return name in (self.dm.dataset.name, self.cfg.DATASET.NAME)

    def before_epoch(self) -> None:
        super().before_epoch()
        if isinstance(self.train_loader_x, HardNegativeLoader):
            self.train_loader_x.epoch = self.epoch

    def _hard_negative_loader(self) -> HardNegativeLoader:
        cfg, options, dataset = self.cfg, self.cfg.TRAINER.DPC, self.dm.dataset
        pool_name = options.NEGATIVE_POOL
        if pool_name == "auto":
            pool_name = "fewshot" if options.VARIANT == "paper" else "train"
        pool: dict[int, list[Any]] = {label: [] for label in range(self.num_classes)}
        for item in dataset.train_x if pool_name == "fewshot" else dataset.train_full:
            pool[item.label].append(item)
        empty = [dataset.classnames[label] for label, items in pool.items() if not items]
        if empty:
            raise ValueError(f"no training image to draw as a hard negative for: {', '.join(empty[:10])}")
        self.dm.cache.prefetch(item.impath for items in pool.values() for item in items)
        if self.num_classes < options.TOPK:
            logger.info("TRAINER.DPC.TOPK is %d, clamped to the %d classes", options.TOPK, self.num_classes)
        return HardNegativeLoader(
            self.train_loader_x,
            self.rank,
            pool,
            self.load_negative,
            options.TOPK,
            options.VARIANT,
            seed=cfg.SEED if cfg.SEED >= 0 else torch.initial_seed(),
            threads=num_workers(cfg),
        )

    def load_negative(self, item: Datum, seed: int) -> Tensor:
        """The image [3, H, W] of a hard negative, through the training transform."""
        return self.dm.load_item(item, seed)

    @torch.no_grad()
    def rank(self, images: Tensor) -> Ranking:
        """Similarity [b, n] of images with the base classes under the frozen tuned prompt."""
        learner = self.model.prompt_learner
        learner.eval()  # P is frozen, its statistics too
        with self.dual_prompts.showing("tuned"), self.autocast():
            features = self.model.image_features(self._to_device(images))
            scores = self.model.class_logits(features, self._tuned_text_features, None)
        learner.train()
        return Ranking(scores, None if self.frozen_image_tower() is None else features)

    def compute_loss(self, batch: Mapping[str, Any]) -> StepOutput:
        """The symmetric contrastive loss over the mini-batch and its hard negatives (Eq. 9).

        It takes the place of the backbone's cross-entropy; the backbone's other losses stay (Sec. 3.3).
        """
        options = self.cfg.TRAINER.DPC
        if not options.HARD_NEGATIVES:
            return super().compute_loss(batch)
        classes, rows = batch["label"].unique(return_inverse=True)
        view = View(
            self._to_device(batch["img"]),
            self._batch_features(batch),
            self.model.text_features(classes),
            classes,
        )
        class_logits = self.model.class_logits(view.image_features, view.text_features, classes)
        logits = class_logits[:, self._to_device(rows)]  # [L, L]
        losses = {"loss_cl": contrastive_loss(logits, "sum" if options.VARIANT == "paper" else "mean")}
        if options.KEEP_BACKBONE_LOSS:
            losses |= self.own_losses(view, class_logits)
        return StepOutput(losses, logits, torch.arange(len(logits), device=self.device))

    def _batch_features(self, batch: Mapping[str, Any]) -> Tensor:
        """Image features [L, E]; those that the sampler has computed already are not computed again."""
        known = batch["query_features"]
        if known is None:
            return self.model.image_features(self._to_device(batch["img"]))
        rest = batch["img"][len(known) :]
        if not len(rest):
            return known
        return torch.cat([known, self.model.image_features(self._to_device(rest))])

    # -- checkpoints ------------------------------------------------------------------------------

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also what the stored leaf means; upstream's files don't say."""
        dpc = {
            "variant": self.cfg.TRAINER.DPC.VARIANT,
            "weight_base": self.weight_base,
            "tuned": self.dual_prompts.fingerprint(),
        }
        return {**super().checkpoint_extras(name), "dpc": dpc}

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "tuned": self.dual_prompts.fingerprint()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self._check_tuned(state["tuned"], "the resume file")

    def _check_tuned(self, fingerprint: str, path: str) -> None:
        if fingerprint != self.dual_prompts.fingerprint():
            raise ValueError(
                f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint} holds other prompts than those "
                f"that {path} was trained from: give that backbone, or train DPC again"
            )

    def load_weights(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        super().load_weights(name, checkpoint, path)
        self.tuned_on = _tuned_on(checkpoint)
        stored = checkpoint.get("dpc")
        if stored is None:
            return
        variant = self.cfg.TRAINER.DPC.VARIANT
        if stored["variant"] != variant:
            raise ValueError(
                f"TRAINER.DPC.VARIANT is {variant!r}, but {path!r} was trained as {stored['variant']!r}: "
                f"set TRAINER.DPC.VARIANT {stored['variant']}"
            )
        self._check_tuned(stored["tuned"], path)
        self.dual_prompts.reweight(stored["weight_base"])


def _tuned_on(checkpoint: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """Data set and class names of a checkpoint of ours; the original repositories' don't say."""
    if "classnames" not in checkpoint:
        return None
    return checkpoint["dataset"], list(checkpoint["classnames"])


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"TRAINER.DPC.{option} is {value!r}; it must be one of {', '.join(choices)}")
