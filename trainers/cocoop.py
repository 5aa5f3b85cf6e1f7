"""CoCoOp: a context that a small network shifts by each image's features (Zhou et al., CVPR 2022).

Shape legend: B images, C classes, M context tokens, D width of the text tower, E width of the embedding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import whole
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.processes import in_shares
from trainers.core import PromptedCLIP, PromptTrainer, encode_prompts
from trainers.core.prompts import MOST_TOKENS, ContextPrompts, PromptLearner, TextPrompts, starting_context


class ConditionalLearner(PromptLearner):
    """``ctx`` [M, D] and ``meta_net``: image features [E] -> shift [D] of every context token."""

    def __init__(self, clip: CLIP, classnames: Sequence[str], options: CN) -> None:
        super().__init__()
        text = options.CTX_INIT.replace("_", " ")
        length = len(text.split()) if text else options.N_CTX
        text, ctx = starting_context(clip, text, length)
        self.ctx = nn.Parameter(ctx)
        embed, width = clip.arch.embed_dim, clip.arch.transformer_width
        self.meta_net = nn.Sequential(
            OrderedDict(
                linear1=nn.Linear(embed, embed // 16), relu=nn.ReLU(), linear2=nn.Linear(embed // 16, width)
            )
        )
        self.prompts = ContextPrompts(clip, classnames, text, length)

    def text_prompts_for(self, image_features: Tensor, classes: Tensor | None = None) -> TextPrompts:
        """Prompts of the classes for one image, [E]."""
        return self.prompts(self.ctx + self.meta_net(image_features), classes)


class ConditionalCLIP(PromptedCLIP):
    """Every image meets text features of its own."""

    prompt_learner: ConditionalLearner

    def text_features(self, classes: Tensor | None = None) -> None:
        return None

    def class_logits(
        self, image_features: Tensor, text_features: Tensor | None, classes: Tensor | None
    ) -> Tensor:
        def logits_of(features: Tensor) -> Tensor:
            prompts = self.prompt_learner.text_prompts_for(features, classes)
            return self.logits(features, encode_prompts(self.clip, prompts))

        # One text pass an image bounds the memory.
        return in_shares(lambda images: torch.stack([logits_of(image) for image in images]), image_features)


@TRAINER_REGISTRY.register()
class CoCoOp(PromptTrainer):
    NODE = "COCOOP"
    OPTIONS = {
        "COCOOP": CN(
            {
                "N_CTX": 16,  # number of context tokens M; with CTX_INIT, its number of words
                "CTX_INIT": "",  # words to start from, such as "a photo of a"; random when empty
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
            }
        )
    }

    ALLOWED = {"N_CTX": whole(1, MOST_TOKENS)}

    def assemble(self, clip_model: CLIP, learner: PromptLearner) -> PromptedCLIP:
        return ConditionalCLIP(clip_model, learner)

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        return ConditionalLearner(clip_model, classnames, self.cfg.TRAINER.COCOOP)
