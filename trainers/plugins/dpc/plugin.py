"""DPC as a plug-in: the second stage of any prompt-tuning trainer.

Shape legend: b images of the mini-batch, n base classes, L image-text pairs, E joint width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from clip import CLIP
from dassl.config import CfgNode as CN
from trainers.core import PromptLearner, PromptTrainer, TunedOn, View
from trainers.core.door import find_prompts, read_prompts, take_prompts
from trainers.plugins.dpc.batches import Ranking
from trainers.plugins.dpc.dual import DualTrainer
from trainers.plugins.dpc.loss import contrastive_loss
from trainers.plugins.dpc.options import check_options, warn_of_idle_options
from trainers.plugins.dpc.weighting import DualPrompts
from trainers.plugins.stack import below

logger = logging.getLogger(__name__)


class DPC(DualTrainer, PromptTrainer):
    """Put in front of a `PromptTrainer`: ``class CoOp_DPC(DPC, CoOp)``.

    Every tensor that the prompt learner tunes becomes a dual prompt: P from the checkpoint in
    ``TRAINER.DPC.BACKBONE_DIR``, frozen, and P' cloned from it and tuned on hard negatives.
    """

    # -- two prompts (Sec. 3.2) -----------------------------------------------------------------------

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        backbone = below(self, DPC)
        check_options(cfg.TRAINER.DPC, backbone.__name__)
        has_own_losses = backbone.own_losses is not PromptTrainer.own_losses
        warn_of_idle_options(cfg.TRAINER.DPC, backbone.__name__, has_own_losses)

    def find_inputs(self) -> None:
        super().find_inputs()
        options = self.cfg.TRAINER.DPC
        self.backbone_checkpoint = find_prompts(
            "TRAINER.DPC.BACKBONE_DIR", options.BACKBONE_DIR, self.MODEL_NAME, options.BACKBONE_EPOCH
        )

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

    def on_source_classes(self) -> bool:
        """Whether this run's classes are among those that P' was tuned on: these get w_b, all others w_n."""
        return not self.cfg.TRAINER.DPC.DECOUPLING or super(DualTrainer, self).on_source_classes()

    # -- before the first step ------------------------------------------------------------------------

    def prepare(self) -> None:
        if not self.weight_base:
            raise ValueError("TRAINER.DPC.WEIGHT_BASE is 0, which evaluates P: set it in (0, 1] to train P'")
        self._check_backbone_classes()
        super().prepare()
        if self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            with torch.no_grad(), self.dual_prompts.showing("tuned"), self.precision.autocast():
                self._tuned_text_features = self.model.text_features()  # frozen: once per run
            self.negatives = self.negative_sampler()

    def _check_backbone_classes(self) -> None:
        """Raise ValueError when P was tuned on other classes than P' is going to be."""
        source = TunedOn.of(self.backbone)
        if source is not None and not self.scope.is_within(source):
            raise ValueError(
                f"TRAINER.DPC.BACKBONE_DIR: {self.backbone_checkpoint} was tuned on other classes "
                f"({source.dataset}: {', '.join(source.names[:3])}, ...) than this run's"
            )

    # -- a step, from the mini-batch to the loss (Sec. 3.3) ---------------------------------------------

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
        with self.dual_prompts.showing("base"):
            ours = self.mean_loss(loader)
        with self.dual_prompts.showing("tuned"):
            tuned = self.mean_loss(loader)
        if ours > tuned:
            remedy = "a lower OPTIM.LR, or fewer OPTIM.MAX_EPOCH"
            message = "the base classes' validation loss is %.4f, with P itself %.4f: P' went too far (%s)"
            logger.warning(message, ours, tuned, remedy)

    def logits_of(self, loader: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """As it is for any trainer; text features are computed once, and those of frozen image towers."""
        with self.precision.autocast():
            self._text_features = self.model.text_features()
        for _, logits, labels in self.test_steps(self.test_batches(loader)):
            yield logits, labels

    # -- checkpoints ------------------------------------------------------------------------------------

    def load_weights(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        super().load_weights(name, checkpoint, path)
        self.take_stored(checkpoint, path)
