"""CoOp: learned context tokens in front of, around or behind the class name (Zhou et al., IJCV 2022)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

import clip
from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import one_of, text, whole
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptTrainer, TunedOn
from trainers.core.prompts import MOST_TOKENS, ContextPrompts, PromptLearner, TextPrompts, starting_context

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


DEFAULT_LENGTH = 16


@TRAINER_REGISTRY.register()
class CoOp(PromptTrainer):
    NODE = "COOP"
    OPTIONS = {
        "COOP": CN(
            {
                "N_CTX": DEFAULT_LENGTH,  # number of context tokens M; with CTX_INIT, its number of words
                "CSC": False,  # a context of its own for each class
                "CTX_INIT": "",  # words to start from, such as "a photo of a"; random when empty
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
                "CLASS_TOKEN_POSITION": "end",  # end, middle or front
                "UPGRADED_FROM": "",  # CLIP that loaded prompts keep their distance to CTX_INIT's words from
            }
        )
    }

    ALLOWED = {
        "N_CTX": whole(1, MOST_TOKENS),
        "CLASS_TOKEN_POSITION": one_of("end", "middle", "front"),
        "UPGRADED_FROM": text(),
    }

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if cfg.TRAINER.COOP.UPGRADED_FROM and not cfg.TRAINER.COOP.CTX_INIT:
            raise ValueError(
                "TRAINER.COOP.UPGRADED_FROM is set, but CTX_INIT is empty: prompts that started at random "
                "have no words to keep a distance from"
            )
        options = cfg.TRAINER.COOP
        if options.CTX_INIT and options.N_CTX not in (len(options.CTX_INIT.split()), DEFAULT_LENGTH):
            logger.warning(
                "TRAINER.COOP.N_CTX has no effect with TRAINER.COOP.CTX_INIT %r, which has its own length",
                options.CTX_INIT,
            )
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

    def train(self) -> None:  # type: ignore[override]
        if self.cfg.TRAINER.COOP.UPGRADED_FROM:
            raise ValueError("TRAINER.COOP.UPGRADED_FROM is for --eval-only: every load moves the prompts")
        super().train()

    def load_model_state_dict(self, name: str, state_dict: Mapping[str, Tensor]) -> None:
        """Take over tuned tensors; with ``UPGRADED_FROM`` E_B(words) + (ctx - E_A(words)) in place of ctx.

        Raises:
            ValueError: there are two such contexts, of which this is one, or the widths differ.
        """
        if old := self.cfg.TRAINER.COOP.UPGRADED_FROM:
            if is_parametrized(self.model.prompt_learner):
                raise ValueError(f"TRAINER.COOP.UPGRADED_FROM does not go with {type(self).__name__}")
            key = self.model.prompt_learner.checkpoint_key("ctx")
            if (context := state_dict.get(key)) is not None:  # else what follows says so
                state_dict = {**state_dict, key: context + self._words_moved(old)}
        super().load_model_state_dict(name, state_dict)

    def _words_moved(self, old: str) -> Tensor:
        """What an upgrade from the CLIP ``old`` does to the embeddings of ``CTX_INIT``'s words, [M, D]."""
        text = self.cfg.TRAINER.COOP.CTX_INIT.replace("_", " ")
        words = clip.tokenize(text)[0, 1 : 1 + len(text.split())]
        ours = self.model.clip.token_embedding.weight.detach().float().cpu()
        theirs = clip.load_token_embedding(old)
        if theirs.shape[1] != ours.shape[1]:
            raise ValueError(
                f"TRAINER.COOP.UPGRADED_FROM {old} has a text tower of width {theirs.shape[1]}, this CLIP "
                f"one of {ours.shape[1]}: prompts of one don't fit the other"
            )
        return ours[words] - theirs[words]

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        return CoOpLearner(clip_model, classnames, self.cfg.TRAINER.COOP)
