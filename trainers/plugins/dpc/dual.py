"""DPC on any trainer: two prompts of which one is shown, mini-batches with hard negatives, checkpoints.

Shape legend: b images of the mini-batch, n base classes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.data.data_manager import num_workers
from dassl.data.datasets import Datum
from dassl.engine import TrainerX
from trainers.plugins.dpc.adaptive import AUTO, choose_shares, summary, validation_images
from trainers.plugins.dpc.batches import Negatives, Ranking
from trainers.plugins.dpc.options import ALLOWED, OPTIONS
from trainers.plugins.dpc.pool import by_class, is_library, read_library
from trainers.plugins.dpc.readings import READINGS, Reading
from trainers.plugins.dpc.weighting import DualPrompts, Rule

logger = logging.getLogger(__name__)


class DualTrainer(TrainerX):
    """Stands in front of the trainer that tuned P. Who builds on it makes ``dual_prompts``.

    Attributes:
        dual_prompts: P, frozen, and P'.
        negatives: what completes a mini-batch.
        backbone_checkpoint: the file that P comes from.
    """

    OPTIONS = {"DPC": OPTIONS}
    ALLOWED = ALLOWED

    _shares: Mapping[str, float] | None = None  # of P' on base classes, where they were chosen

    dual_prompts: DualPrompts
    negatives: Negatives[Datum]
    backbone_checkpoint: Path

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
        return self.own_weight_base if options.WEIGHT_BASE in (None, AUTO) else options.WEIGHT_BASE

    @property
    def chooses_weight(self) -> bool:
        """Whether what base classes see is chosen by validation images (``WEIGHT_BASE auto``)."""
        options = self.cfg.TRAINER.DPC
        return options.WEIGHT_BASE == AUTO and options.WEIGHTING

    @property
    def own_weight_base(self) -> float:
        """w_b of the paper for the trainer that is tuned again."""
        return getattr(self, "DPC_WEIGHT_BASE", 0.2)

    def rule_of(self, name: str, weight_base: float | None = None) -> Rule:
        """How the learner's tensor ``name`` is dual, under this run's w_b or another."""
        w = self.weight_base if weight_base is None else weight_base
        # where P itself is evaluated, P' may stand under any weight
        return self.reading.rule(name, w or 1.0, self.cfg.TRAINER.DPC.WEIGHT_NEW)

    def set_model_mode(self, mode: str = "train", names: str | Iterable[str] | None = None) -> None:
        """Training shows P'; evaluation the mix for the classes of this run."""
        super().set_model_mode(mode, names)
        if mode == "train":
            self._share_base(None)  # chosen for the prompts of a checkpoint, not for what comes next
            self.dual_prompts.show("parallel")
        elif self.on_source_classes():
            self.dual_prompts.show("base" if self.weight_base else "tuned")
        else:
            self.dual_prompts.show("new")

    def on_source_classes(self) -> bool:
        """Whether this run's classes are among those that P' was tuned on: these get w_b, all others w_n."""
        raise NotImplementedError

    # -- mini-batches (Sec. 3.3) ----------------------------------------------------------------------

    def negative_sampler(self) -> Negatives[Datum]:
        """What completes mini-batches, with the images that ``NEGATIVE_POOL`` names."""
        options, dataset = self.cfg.TRAINER.DPC, self.dm.dataset
        chosen = self.reading.pool if options.NEGATIVE_POOL == "auto" else options.NEGATIVE_POOL
        if is_library(chosen):
            pool = read_library(chosen, dataset)
        else:
            pool = by_class(self.pool_images(chosen), dataset)
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

    def pool_images(self, chosen: str) -> list[Datum]:
        """Images to draw negatives from: those of the few-shot training set, or of the full split."""
        return self.dm.dataset.train_x if chosen == "fewshot" else self.dm.dataset.train_full

    def rank(self, images: Tensor) -> Ranking:
        """Similarity [b, n] of images [b, 3, H, W] with the base classes under the frozen tuned prompt."""
        raise NotImplementedError

    def load_negative(self, item: Datum, seed: int) -> Tensor:
        """The image [3, H, W] of a hard negative."""
        return self.dm.load_item(item, seed, is_train=self.reading.augments_negatives)

    def train_batches(self) -> Iterable[Mapping[str, Any]]:
        """The loader's mini-batches, each completed with hard negatives."""
        batches = super().train_batches()
        if not self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return batches
        seed = self.cfg.SEED if self.cfg.SEED >= 0 else torch.initial_seed()
        return self.negatives.complete(batches, f"{seed}/{self.epoch}")

    # -- what base classes see, under WEIGHT_BASE auto ---------------------------------------------------

    def prepare(self) -> None:
        if self.chooses_weight:
            validation_images(self.dm.dataset, "TRAINER.DPC.WEIGHT_BASE is auto")
        super().prepare()

    def choose_shares(self, grouping: str) -> dict[str, float]:
        """The weight of P' in every tensor that the validation images' loss is lowest under.

        Args:
            grouping: see `trainers.plugins.dpc.adaptive.choose_shares`.

        Raises:
            ValueError: the data set has no validation images.
        """
        loader = self.dm.build_test_loader(validation_images(self.dm.dataset, "w_b cannot be chosen"))

        def loss(shares: Mapping[str, float]) -> float:
            with self.dual_prompts.mixed(shares):
                return self.mean_loss(loader)

        return choose_shares(self.dual_prompts.names, loss, grouping)

    @torch.no_grad()
    def mean_loss(self, loader: Any) -> float:
        """Mean cross-entropy of the images of ``loader`` under the prompts that are shown."""
        shown = self.dual_prompts.shown
        self.set_model_mode("eval")
        total, count = 0.0, 0
        with self.dual_prompts.showing(shown):
            for logits, labels in self.logits_of(loader):
                total += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
                count += len(labels)
        return total / count

    def logits_of(self, loader: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits [B, n] and labels [B] of the batches of ``loader``, under the prompts that are shown."""
        for images, labels in map(self.parse_batch_test, loader):
            yield self.model_inference(images), labels

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        if self.chooses_weight:
            self._share_base(self.choose_shares(self.cfg.TRAINER.DPC.AUTO_GROUPS))
            logger.info("weights of P' on base classes, by validation loss: %s", summary(self._shares or {}))
        super().save_model(*args, **kwargs)

    def _share_base(self, shares: Mapping[str, float] | None) -> None:
        if shares != self._shares:
            self._shares = shares
            self.dual_prompts.share_base(shares)

    # -- checkpoints ------------------------------------------------------------------------------------

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also what the stored leaf means; upstream's files don't say."""
        dpc = {
            "variant": self.reading.name,
            "weight_base": self.weight_base,
            "tuned": self.dual_prompts.fingerprint(),
            **({} if self._shares is None else {"shares": dict(self._shares)}),
        }
        return {**super().checkpoint_extras(name), "dpc": dpc}

    def extra_state(self) -> dict[str, Any]:
        state = {**super().extra_state(), "tuned": self.dual_prompts.fingerprint()}
        return state if self._shares is None else {**state, "shares": dict(self._shares)}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.check_tuned(state["tuned"], "the resume file")
        self._share_base(state.get("shares"))

    def check_tuned(self, fingerprint: str, path: str) -> None:
        """Raise ValueError where ``path`` was trained from another P than this run has."""
        if fingerprint != self.dual_prompts.fingerprint():
            raise ValueError(
                f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint} holds other prompts than those "
                f"that {path} was trained from: give that backbone, or train DPC again"
            )

    def check_stored(self, checkpoint: Mapping[str, Any], path: str) -> None:
        """Raise ValueError where ``checkpoint`` was trained from another P, or as another reading."""
        if (stored := checkpoint.get("dpc")) is None:
            return
        if stored["variant"] != self.reading.name:
            raise ValueError(
                f"TRAINER.DPC.VARIANT is {self.reading.name!r}, but {path!r} was trained as "
                f"{stored['variant']!r}: set TRAINER.DPC.VARIANT {stored['variant']}"
            )
        self.check_tuned(stored["tuned"], path)

    def take_stored(self, checkpoint: Mapping[str, Any], path: str) -> None:
        """Read the leaf that was loaded from ``checkpoint`` as it was trained, under its own w_b.

        Raises:
            ValueError: it was trained from another P, or as another reading.
        """
        self.check_stored(checkpoint, path)
        stored = checkpoint.get("dpc")
        trained_under = stored["weight_base"] if stored else self.own_weight_base
        if not self.reading.mixes_base and self.weight_base not in (0, trained_under):
            message = "TRAINER.DPC.WEIGHT_BASE %s has no effect on an evaluation of %s: base classes see P'"
            logger.warning(message, self.weight_base, self.reading.name)
        if self.chooses_weight:
            if stored is None or "shares" not in stored:
                raise ValueError(
                    f"TRAINER.DPC.WEIGHT_BASE is {AUTO}, but {path!r} was trained under a fixed one: give a "
                    "number, or see what would be chosen with sweep_weights.py --auto"
                )
            self._share_base(stored["shares"])
        if stored is not None:
            self.dual_prompts.reweight(lambda tensor: self.rule_of(tensor, stored["weight_base"]))
