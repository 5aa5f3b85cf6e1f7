"""DePT as a plug-in.

Shape legend: B images, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import above, number
from dassl.optim import build_optimizer
from trainers.core import PromptLearner, PromptTrainer, TunedOn, View
from trainers.core.model import unit
from trainers.plugins.dept.head import Head, Headed, headed

logger = logging.getLogger(__name__)


class DePT(PromptTrainer):
    """Put in front of a `PromptTrainer`: ``class CoOp_DePT(DePT, CoOp)``.

    Raises:
        ValueError: when such a class is made of what computes a step's features or cross-entropy its own way,
            as DPC does in front of DePT or behind it.
    """

    OPTIONS = {
        "DEPT": CN(
            {
                "WEIGHT": 0.7,  # lambda, the head's share of loss and logits, in [0, 1]
                "LR_FACTOR": 6.5,  # the head's learning rate over the prompts', above 0
                "FILM": True,  # ablation: off gives the head the features as they are
                "FUSION": True,  # ablation: off tests the head's classes by the head alone
            }
        )
    }
    ALLOWED = {"WEIGHT": number(0, 1), "LR_FACTOR": above(0)}
    KEY_PREFIX = ""  # of the learner's own keys: the original stores the whole model
    head_fits = False  # whether the head was tuned on this run's classes

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        behind = cls.__mro__[cls.__mro__.index(DePT) + 1]
        assert issubclass(behind, PromptTrainer)
        if problem := obstacle(behind) or ("" if cls.view is DePT.view else "what is in front of it"):
            raise ValueError(
                f"{cls.__name__}: DePT divides a step's plain cross-entropy and needs its features before "
                f"they are normalised, but {problem} has its own: put DePT on a method that has not"
            )
        alone = behind.MODEL_NAME == PromptTrainer.MODEL_NAME
        cls.MODEL_NAME = "PromptLearner" if alone else behind.MODEL_NAME
        cls.KEY_PREFIX = "prompt_learner." if alone else ""

    # -- a head, and its learning rate -------------------------------------------------------------------

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        learner = super().build_learner(clip_model, classnames)
        head = Head(clip_model.arch.embed_dim, len(classnames), self.cfg.TRAINER.DEPT.FILM)
        return headed(learner, head, self.KEY_PREFIX)

    @property
    def head(self) -> Head:
        learner = self.model.prompt_learner
        assert isinstance(learner, Headed)
        return learner.head

    def build_optim(self, learner: PromptLearner) -> Optimizer:
        """The prompts in the first group, with the learning rate that the log shows; the head in another."""
        assert isinstance(learner, Headed)
        head = list(learner.head.parameters())
        own = {id(leaf) for leaf in head}
        prompts = [leaf for leaf in learner.parameters() if id(leaf) not in own]
        options = self.cfg.OPTIM
        faster = {"params": head, "lr": options.LR * self.cfg.TRAINER.DEPT.LR_FACTOR}
        return build_optimizer(learner, options, param_groups=[{"params": prompts}, faster])

    def prepare(self) -> None:
        super().prepare()
        self.head_fits = True

    # -- a step ------------------------------------------------------------------------------------------

    def view(self, batch: Mapping[str, Any]) -> View:
        images, labels = self.parse_batch_train(batch)
        image, text = self.model.raw_image_features(images), self.model.raw_text_features()
        impaths = batch.get("impath", ())
        return View(images, labels, labels, unit(image), unit(text), impaths=impaths, raw=(image, text))

    def classification_loss(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """(1 - lambda) of the cross-entropy of the similarities, and lambda of the head's on 2B rows."""
        assert view.raw is not None
        image, text = view.raw
        linear = F.cross_entropy(self.head(image, text[view.columns]), view.columns.repeat(2))
        weight = self.cfg.TRAINER.DEPT.WEIGHT
        similarity = super().classification_loss(view, logits)
        scaled = {name: (1 - weight) * loss for name, loss in similarity.items()}
        return {**scaled, "loss_linear": weight * linear}

    # -- evaluation --------------------------------------------------------------------------------------

    def frozen_image_tower(self) -> nn.Module | None:
        return super().frozen_image_tower()  # said anew: what is kept are features before normalising

    def feature_code(self) -> Sequence[ModuleType]:
        return (*super().feature_code(), sys.modules[__name__])

    def test_image_features(self, images: Tensor) -> Tensor:
        """[B, E], not normalised."""
        with self.precision.autocast():
            return self.model.raw_image_features(images)

    def test_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] of `test_image_features`: mixed where the head fits, else similarities alone."""
        similarity = super().test_logits(unit(features))
        if not self.head_fits:
            return similarity
        options = self.cfg.TRAINER.DEPT
        weight = options.WEIGHT if options.FUSION else 1.0
        return (1 - weight) * similarity + weight * self.head(features)

    # -- checkpoints -------------------------------------------------------------------------------------

    def load_weights(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        """Take over prompts and head; of the head the rows of this run's classes, none where it lacks one.

        The original's files don't say their classes: there its rule decides, but for the ImageNets of other
        images (V2, Sketch, A, R), which take the rows of their classes from a file of ours alone.
        """
        state, source = dict(checkpoint["state_dict"]), TunedOn.of(checkpoint)
        names = list(self.scope.names)
        fits = self.scope.is_within(None) if source is None else set(names) <= set(source.names)
        for key, own in self.head.linear_probe_proj.named_parameters("linear_probe_proj"):
            if not fits:
                state[key] = own
            elif source is not None and key in state and names != source.names:
                state[key] = state[key][[source.names.index(each) for each in names]]
        super().load_weights(name, {**checkpoint, "state_dict": state}, path)
        self.head_fits = fits
        if not fits:
            logger.info("%s: the head is left out, since it was tuned on other classes", path)


def obstacle(method: type[PromptTrainer]) -> str:
    """What keeps DePT from ``method``: its name where it computes loss or features its own way, else ""."""
    needed = ("view", "classification_loss", "assemble")
    own = any(getattr(method, step) is not getattr(PromptTrainer, step) for step in needed)
    return method.__name__ if own else ""
