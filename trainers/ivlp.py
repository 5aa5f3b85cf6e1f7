"""Independent vision-language prompting: shallow and deep prompts in both towers (Rasheed et al., CVPR 2023).

Shape legend: M text context tokens, P visual prompt tokens, D width of a tower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
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


class VisionLanguageLearner(PromptLearner):
    """Prompts of both towers, tuned independently of each other.

    Attributes:
        ctx: [M, D] of the text tower; absent when ``text_depth`` is 0, which leaves "<CTX_INIT> <name>.".
        text_deep, vision_deep: one tensor a block from the second on, as deep as the depths say.
        vision: [P, D] of the image tower; absent when ``vision_depth`` is 0, which leaves that tower alone.

    Args:
        text_clip: owner of the text tower, where that is not ``clip``.
    """

    def __init__(
        self,
        clip: CLIP,
        classnames: Sequence[str],
        context: str,
        text_length: int,
        text_depth: int,
        vision_length: int,
        vision_depth: int,
        text_clip: CLIP | None = None,
    ) -> None:
        super().__init__()
        text_clip = text_clip or clip
        context, ctx = starting_context(text_clip, words_for(context, text_length), text_length)
        self.prompts = ContextPrompts(text_clip, classnames, context, text_length)
        text_arch = text_clip.arch
        if text_depth > 0:
            self.ctx = nn.Parameter(ctx)
        self.text_deep = deep_prompts(
            text_length, text_arch.transformer_width, text_depth, text_arch.transformer_layers
        )
        if vision_depth == 0:
            return
        width, layers = vision_sizes(clip)
        self.vision = nn.Parameter(nn.init.normal_(torch.empty(vision_length, width), std=0.02))
        self.vision_deep = deep_prompts(vision_length, width, vision_depth, layers)

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        return self.prompts(getattr(self, "ctx", None), classes, list(self.text_deep))

    def image_prompts(self) -> ImagePrompts:
        return ImagePrompts(self.vision, list(self.vision_deep)) if self.tunes_image_tower else ImagePrompts()

    @property
    def tunes_image_tower(self) -> bool:
        return hasattr(self, "vision")

    def checkpoint_key(self, name: str) -> str:
        part, _, index = name.partition(".")
        if tower := {"text_deep": "text_encoder", "vision_deep": "image_encoder"}.get(part):
            return f"{tower}.transformer.resblocks.{int(index) + 1}.VPT_shallow"
        return {"ctx": "prompt_learner.ctx", "vision": "image_encoder.VPT"}.get(name, name)


def words_for(context: str, length: int) -> str:
    """The words that a context starts from: longer ones than four tokens start at random."""
    return context.replace("_", " ") if length <= 4 else ""


def deep_prompts(length: int, width: int, depth: int, layers: int) -> nn.ParameterList:
    """Prompts [length, width] for the blocks 1 .. depth - 1 of a tower that has ``layers`` blocks."""
    count = max(0, min(depth, layers) - 1)
    return nn.ParameterList(nn.init.normal_(torch.empty(length, width), std=0.02) for _ in range(count))


@TRAINER_REGISTRY.register()
class IVLP(PromptTrainer):
    NODE = "IVLP"
    MODEL_NAME = "VLPromptLearner"
    OPTIONS = {
        "IVLP": CN(
            {
                "N_CTX_VISION": 2,  # visual prompt tokens P
                "N_CTX_TEXT": 2,  # context tokens M
                "CTX_INIT": "a photo of a",  # words to start from, where M is at most 4
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
                "PROMPT_DEPTH_VISION": 9,  # blocks of the image tower with prompts, 1: shallow, 0: none
                "PROMPT_DEPTH_TEXT": 9,  # blocks of the text tower with prompts, 1 is shallow only
            }
        )
    }

    ALLOWED = {
        "N_CTX_VISION": whole(0, MOST_TOKENS),
        "N_CTX_TEXT": whole(1, MOST_TOKENS),
        "PROMPT_DEPTH_VISION": whole(0, MOST_BLOCKS),
        "PROMPT_DEPTH_TEXT": whole(1, MOST_BLOCKS),
    }

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER[self.NODE]
        if options.PROMPT_DEPTH_VISION and not options.N_CTX_VISION:
            raise ValueError(
                f"TRAINER.{self.NODE}.N_CTX_VISION is 0; it must be 1 or more, or PROMPT_DEPTH_VISION 0"
            )

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        options = self.cfg.TRAINER[self.NODE]
        return VisionLanguageLearner(
            clip_model,
            classnames,
            context=options.CTX_INIT,
            text_length=options.N_CTX_TEXT,
            text_depth=options.PROMPT_DEPTH_TEXT,
            vision_length=options.N_CTX_VISION,
            vision_depth=options.PROMPT_DEPTH_VISION,
        )
