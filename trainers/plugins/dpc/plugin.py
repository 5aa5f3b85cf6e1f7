"""DPC as a plug-in: the second stage of any prompt-tuning trainer.

Shape legend: b images of the mini-batch, n base classes, L image-text pairs, E joint width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode as CN

from clip import CLIP
from dassl.data.data_manager import num_workers
from dassl.data.datasets import Datum
from trainers.core import PromptLearner, PromptTrainer, TunedOn, View
from trainers.core.door import FINAL, find_prompts, read_prompts, take_prompts
from trainers.plugins.dpc.batches import Negatives, Ranking
from trainers.plugins.dpc.checks import check_options, warn_of_idle_options
from trainers.plugins.dpc.loss import contrastive_loss
from trainers.plugins.dpc.pool import by_class, is_library, read_library
from trainers.plugins.dpc.readings import READINGS, Reading
from trainers.plugins.dpc.weighting import DualPrompts, Rule, Shown
from trainers.plugins.stack import below

logger = logging.getLogger(__name__)


class DPC(PromptTrainer):
    """Put in front of a `PromptTrainer`: ``class CoOp_DPC(DPC, CoOp)``.

    Every tensor that the prompt learner tunes becomes a dual prompt: P from the checkpoint in
    ``TRAINER.DPC.BACKBONE_DIR``, frozen, and P' cloned from it and tuned on hard negatives.
    """

    OPTIONS = {
        "DPC": CN(
            {
                "VARIANT": "released",  # the reading: released (the authors' code), paper or direct
                "BACKBONE_DIR": "",  # output folder of the run that tuned P
                "BACKBONE_EPOCH": FINAL,  # its epoch, -1 the last, 0 the best; None: the best if there is one
                "WEIGHT_BASE": None,  # w_b, Eq. 12, in (0, 1]; 0 evaluates P itself; None: 0.2, for MaPLe 1.0
                "WEIGHT_NEW": 1e-6,  # w_n, Eq. 13, in [0, 1]
                "TOPK": 8,  # K of the negative sampler, at least 2; clamped to the number of classes
                "NEGATIVE_POOL": "auto",  # negatives' images: fewshot, train (full split), auto, a .json
                "KEEP_BACKBONE_LOSS": True,  # the backbone's losses but its cross-entropy, beside Eq. 9
                "HARD_NEGATIVES": True,  # ablation: off trains P' with the backbone's own loss
                "WEIGHTING": True,  # ablation: off uses P' alone on base classes (w_b = 1)
                "DECOUPLING": True,  # ablation: off uses the base classes' prompt on new classes too
            }
        )
    }

    # -- two prompts (Sec. 3.2) -----------------------------------------------------------------------

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        backbone = below(self, DPC)
        check_options(cfg.TRAINER.DPC, backbone.__name__)
        warn_of_idle_options(cfg.TRAINER.DPC, DPC.OPTIONS["DPC"], backbone)

    def find_inputs(self) -> None:
        super().find_inputs()
        options = self.cfg.TRAINER.DPC
        self.backbone_checkpoint = find_prompts(
            "TRAINER.DPC.BACKBONE_DIR", options.BACKBONE_DIR, self.MODEL_NAME, options.BACKBONE_EPOCH
        )

    @property
    def reading(self) -> Reading:
        """How this run reads DPC."""
        return READINGS[self.cfg.TRAINER.DPC.VARIANT]

    @property
    def weight_base(self) -> float:
        """w_b of this run; 0 evaluates P itself."""
        options = self.cfg.TRAINER.DPC
        if not options.WEIGHTING:
            return 1.0
        return self.DPC_WEIGHT_BASE if options.WEIGHT_BASE is None else options.WEIGHT_BASE

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        """The backbone's learner with its tuned tensors made dual (Eq. 5)."""
        learner = super().build_learner(clip_model, classnames)
        try:
            take_prompts(self.tuned_state(), learner)
        except ValueError as error:
            raise ValueError(f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint}: {error}") from error
        self.dual_prompts = DualPrompts(learner, self.rule_of)
        return learner

    def tuned_state(self) -> Mapping[str, Tensor]:
        """P: the tensors of the backbone's checkpoint.

        Raises:
            ValueError: another method of ours wrote it.
        """
        setting, backbone = "TRAINER.DPC.BACKBONE_DIR", below(self, DPC).__name__
        self.backbone = read_prompts(setting, self.backbone_checkpoint, backbone, self.known_clip)
        return self.backbone["state_dict"]

    def rule_of(self, name: str, weight_base: float | None = None) -> Rule:
        """How the learner's tensor ``name`` is dual, under this run's w_b or another."""
        w = self.weight_base if weight_base is None else weight_base
        # where P itself is evaluated, P' may stand under any weight
        return self.reading.rule(name, w or 1.0, self.cfg.TRAINER.DPC.WEIGHT_NEW)

    def set_model_mode(self, mode: str = "train", names: str | Iterable[str] | None = None) -> None:
        """Training shows P'; evaluation the mix for the classes of this run."""
        super().set_model_mode(mode, names)
        if mode == "train":
            self.dual_prompts.show("parallel")
        elif self.on_source_classes():
            self.dual_prompts.show("base" if self.weight_base else "tuned")
        else:
            self.dual_prompts.show("new")

    def on_source_classes(self) -> bool:
        """Whether this run's classes are among those that P' was tuned on: these get w_b, all others w_n."""
        return not self.cfg.TRAINER.DPC.DECOUPLING or super().on_source_classes()

    # -- before the first step ------------------------------------------------------------------------

    def prepare(self) -> None:
        if not self.weight_base:
            raise ValueError("TRAINER.DPC.WEIGHT_BASE is 0, which evaluates P: set it in (0, 1] to train P'")
        self._check_backbone_classes()
        super().prepare()
        if self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            with torch.no_grad(), self.dual_prompts.showing("tuned"), self.precision.autocast():
                self._tuned_text_features = self.model.text_features()  # frozen: once per run
            self.negatives = self._negative_sampler()

    def _check_backbone_classes(self) -> None:
        """Raise ValueError when P was tuned on other classes than P' is going to be."""
        source = TunedOn.of(self.backbone)
        if source is not None and not self.scope.is_within(source):
            raise ValueError(
                f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint} was tuned on other classes "
                f"({source.dataset}: {', '.join(source.names[:3])}, ...) than this run's"
            )

    def _negative_sampler(self) -> Negatives[Datum]:
        options, dataset = self.cfg.TRAINER.DPC, self.dm.dataset
        chosen = self.reading.pool if options.NEGATIVE_POOL == "auto" else options.NEGATIVE_POOL
        if is_library(chosen):
            pool = read_library(chosen, dataset)
        else:
            pool = by_class(dataset.train_x if chosen == "fewshot" else dataset.train_full, dataset)
        self.dm.cache.prefetch(item.impath for items in pool.values() for item in items)
        if self.num_classes <= options.TOPK:
            logger.warning(
                "TRAINER.DPC.TOPK is %d, not below the %d classes: every mini-batch holds nearly all of "
                "them, and no negative is hard",
                options.TOPK, self.num_classes,
            )  # fmt: skip
        return Negatives(
            self.rank,
            pool,
            self.load_negative,
            options.TOPK,
            self.reading.limits(options.TOPK),
            self.reading.keeps_duplicates,
            threads=num_workers(self.cfg),
        )

    # -- a step, from the mini-batch to the loss (Sec. 3.3) ---------------------------------------------

    def train_batches(self) -> Iterable[Mapping[str, Any]]:
        """The loader's mini-batches, each completed with hard negatives."""
        batches = super().train_batches()
        if not self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return batches
        seed = self.cfg.SEED if self.cfg.SEED >= 0 else torch.initial_seed()
        return self.negatives.complete(batches, f"{seed}/{self.epoch}")

    @torch.no_grad()
    def rank(self, images: Tensor) -> Ranking:
        """Similarity [b, n] of images [b, 3, H, W] with the base classes under the frozen tuned prompt."""
        learner = self.model.prompt_learner
        learner.eval()  # P is frozen, its statistics too
        with self.dual_prompts.showing("tuned"), self.precision.autocast():
            features = self.model.image_features(self._to_device(images))
            # what is behind DPC alone: a plug-in in front of it goes on being tuned
            scores = super().class_logits(features, self._tuned_text_features)
        learner.train()
        return Ranking(scores, None if self.frozen_image_tower() is None else features)

    def load_negative(self, item: Datum, seed: int) -> Tensor:
        """The image [3, H, W] of a hard negative."""
        return self.dm.load_item(item, seed, is_train=self.reading.augments_negatives)

    def view(self, batch: Mapping[str, Any]) -> View:
        """The L pairs through the towers; of the classes only theirs (Eq. 6-8)."""
        if not self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return super().view(batch)
        images, labels = self.parse_batch_train(batch)
        classes, columns = batch["label"].unique(return_inverse=True)
        image_features = self._image_features(images, batch["query_features"])
        text_features = self.model.text_features(classes)
        return View(images, labels, self._to_device(columns), image_features, text_features, classes)

    def _image_features(self, images: Tensor, known: Tensor | None) -> Tensor:
        """[L, E]; those that the sampler has computed already are not computed again."""
        if known is None:
            return self.model.image_features(images)
        rest = images[len(known) :]
        return torch.cat([known, self.model.image_features(rest)]) if len(rest) else known

    def classification_loss(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """The symmetric contrastive loss of the L pairs (Eq. 9), in place of the backbone's loss."""
        if not self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return super().classification_loss(view, logits)
        pairs = logits[:, view.columns]  # [L, L], pair i on the diagonal
        return {"loss_cl": contrastive_loss(pairs, self.reading.reduction)}

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """The backbone's other losses stay in parallel (Sec. 3.3)."""
        options = self.cfg.TRAINER.DPC
        keep = options.KEEP_BACKBONE_LOSS or not options.HARD_NEGATIVES
        return super().own_losses(view, logits) if keep else {}

    # -- after the last step ----------------------------------------------------------------------------

    def after_train(self) -> None:
        super().after_train()  # which may load the best epoch's prompts
        self._compare_with_tuned()

    def _compare_with_tuned(self) -> None:
        """Warn where the prompt for base classes has a higher validation loss than P has."""
        dataset = self.dm.dataset
        if self.cfg.TEST.NO_TEST or not dataset.val or getattr(dataset, "val_is_test", False):
            return
        loader = self.dm.build_test_loader(dataset.val)
        ours, tuned = self._mean_loss(loader, "base"), self._mean_loss(loader, "tuned")
        if ours > tuned:
            remedy = "a lower OPTIM.LR, or fewer OPTIM.MAX_EPOCH"
            message = "the base classes' validation loss is %.4f, with P itself %.4f: P' went too far (%s)"
            logger.warning(message, ours, tuned, remedy)

    @torch.no_grad()
    def _mean_loss(self, loader: Any, shown: Shown) -> float:
        """Mean cross-entropy of the images of ``loader``."""
        self.set_model_mode("eval")
        total, count = 0.0, 0
        with self.dual_prompts.showing(shown):
            with self.precision.autocast():
                self._text_features = self.model.text_features()
            for _, logits, labels in self.test_steps(self.test_batches(loader)):
                total += float(F.cross_entropy(logits, labels, reduction="sum"))
                count += len(labels)
        return total / count

    # -- checkpoints ------------------------------------------------------------------------------------

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also what the stored leaf means; upstream's files don't say."""
        dpc = {
            "variant": self.reading.name,
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
        stored = checkpoint.get("dpc")
        trained_under = stored["weight_base"] if stored else self.DPC_WEIGHT_BASE
        if not self.reading.mixes_base and self.weight_base not in (0, trained_under):
            message = "TRAINER.DPC.WEIGHT_BASE %s has no effect on an evaluation of %s: base classes see P'"
            logger.warning(message, self.weight_base, self.reading.name)
        if stored is None:
            return
        if stored["variant"] != self.reading.name:
            raise ValueError(
                f"TRAINER.DPC.VARIANT is {self.reading.name!r}, but {path!r} was trained as "
                f"{stored['variant']!r}: set TRAINER.DPC.VARIANT {stored['variant']}"
            )
        self._check_tuned(stored["tuned"], path)
        self.dual_prompts.reweight(lambda tensor: self.rule_of(tensor, stored["weight_base"]))
