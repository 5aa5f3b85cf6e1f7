"""CoOp: learned context tokens in front of, around or behind the class name (Zhou et al., IJCV 2022)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from yacs.config import CfgNode as CN

from clip import CLIP
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptTrainer, TunedOn
from trainers.core.prompts import ContextPrompts, PromptLearner, TextPrompts, starting_context

logger = logging.getLogger(__name__)


class CoOpLearner(PromptLearner):
    """``ctx``: [M, D], or [C, M, D] with a context of its own for each class (CSC).

    Args:
        template: what stands behind the context, with {} for the name.
    """

    def __init__(self, clip: CLIP, classnames: Sequence[str], options: CN, template: str = "{}.") -> None:
        super().__init__()
        text = options.CTX_INIT.replace("_", " ")
        length = len(text.split()) if text else options.N_CTX
        text, ctx = starting_context(clip, text, length, len(classnames) if options.CSC else None)
        self.ctx = nn.Parameter(ctx)
        self.prompts = ContextPrompts(clip, classnames, text, length, options.CLASS_TOKEN_POSITION, template)

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        return self.prompts(self.ctx, classes)


@TRAINER_REGISTRY.register()
class CoOp(PromptTrainer):
    NODE = "COOP"
    OPTIONS = {
        "COOP": CN(
            {
                "N_CTX": 16,  # number of context tokens M; with CTX_INIT, its number of words
                "CSC": False,  # a context of its own for each class
                "CTX_INIT": "",  # words to start from, such as "a photo of a"; random when empty
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
                "CLASS_TOKEN_POSITION": "end",  # end, middle or front
            }
        )
    }

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        self.check_positive(cfg, "N_CTX")
        if cfg.TRAINER.COOP.CSC and cfg.TRAINER.COOP.CTX_INIT:
            logger.warning(
                "TRAINER.COOP.CSC has no effect with TRAINER.COOP.CTX_INIT %r: all classes share a context "
                "that starts from words",
                cfg.TRAINER.COOP.CTX_INIT,
            )

    def read_model_checkpoint(self, path: str) -> dict[str, Any]:
        """Read one checkpoint, refusing class-specific contexts of other classes."""
        checkpoint = super().read_model_checkpoint(path)
        tuned_on = TunedOn.of(checkpoint)
        class_specific = self.model.prompt_learner.ctx.dim() == 3
        if class_specific and tuned_on is not None and tuned_on.names != list(self.scope.names):
            raise ValueError(
                f"{path!r} holds a context for each of other classes (TRAINER.COOP.CSC True): "
                "it can only be evaluated on the classes that it was tuned on"
            )
        return checkpoint

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        return CoOpLearner(clip_model, classnames, self.cfg.TRAINER.COOP)
