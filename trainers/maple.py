"""MaPLe: text prompts at several depths, projected into the image tower (Khattak et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import whole
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptTrainer
from trainers.core.prompts import (
    MOST_BLOCKS,
    MOST_TOKENS,
    ContextPrompts,
    ImagePrompts,
    PromptLearner,
    TextPrompts,
    starting_context,
    vision_sizes,
)
from trainers.ivlp import deep_prompts, words_for


class MultiModalLearner(PromptLearner):
    """Every visual prompt is a linear function of the text prompt of the same depth."""

    def __init__(self, clip: CLIP, classnames: Sequence[str], options: CN) -> None:
        super().__init__()
        arch = clip.arch
        vision_width, vision_layers = vision_sizes(clip)
        context, ctx = starting_context(clip, words_for(options.CTX_INIT, options.N_CTX), options.N_CTX)
        self.prompts = ContextPrompts(clip, classnames, context, options.N_CTX)
        self.ctx = nn.Parameter(ctx)
        self.proj = nn.Linear(arch.transformer_width, vision_width)
        layers = min(arch.transformer_layers, vision_layers)
        self.compound_prompts_text = deep_prompts(
            options.N_CTX, arch.transformer_width, options.PROMPT_DEPTH, layers
        )
        self.compound_prompt_projections = nn.ModuleList(
            nn.Linear(arch.transformer_width, vision_width) for _ in self.compound_prompts_text
        )

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        return self.prompts(self.ctx, classes, list(self.compound_prompts_text))

    def image_prompts(self) -> ImagePrompts:
        pairs = zip(self.compound_prompt_projections, self.compound_prompts_text, strict=True)
        return ImagePrompts(self.proj(self.ctx), [project(prompt) for project, prompt in pairs])

    def checkpoint_key(self, name: str) -> str:
        return f"prompt_learner.{name}"


@TRAINER_REGISTRY.register()
class MaPLe(PromptTrainer):
    NODE = "MAPLE"
    DPC_WEIGHT_BASE = 1.0  # the DPC paper's w_b for this learner
    MODEL_NAME = "MultiModalPromptLearner"
    OPTIONS = {
        "MAPLE": CN(
            {
                "N_CTX": 2,  # context tokens M, and as many visual prompt tokens
                "CTX_INIT": "a photo of a",  # words to start from, where M is at most 4
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
                "PROMPT_DEPTH": 9,  # blocks of both towers with prompts, 1 is shallow only
            }
        )
    }

    ALLOWED = {"N_CTX": whole(1, MOST_TOKENS), "PROMPT_DEPTH": whole(1, MOST_BLOCKS)}

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        return MultiModalLearner(clip_model, classnames, self.cfg.TRAINER.MAPLE)
