"""DPC on ContCoOp, in two ways: mixing the weights of an attention layer is not mixing the prompts it makes.

The two agree where w is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import one_of
from dassl.engine import TRAINER_REGISTRY
from trainers.contcoop import ContCoOp, ContCoOpLearner
from trainers.core import PromptLearner
from trainers.plugins.dpc import DPC
from trainers.plugins.dpc.weighting import weight


@TRAINER_REGISTRY.register()
class ContCoOp_DPC(DPC, ContCoOp):
    """The tensors of the attention layer become dual, too."""

    OPTIONS = {"DPC": CN({"MIX": "tensors"})}  # what Eq. 12 and 13 mix: the tensors, or the contexts G
    ALLOWED = {"MIX": one_of("tensors", "contexts")}

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        learner = super().build_learner(clip_model, classnames)
        if self.cfg.TRAINER.DPC.MIX == "contexts":
            assert isinstance(learner, ContCoOpLearner)
            learner.mix = self._mixed
        return learner

    def _mixed(self, context: Callable[[], Tensor]) -> Tensor:
        dual = self.dual_prompts
        if (share := dual.share) in (0, 1):
            return context()
        with dual.showing("parallel"):
            parallel = context()
        with dual.showing("tuned"):
            return weight(parallel, context(), share)
