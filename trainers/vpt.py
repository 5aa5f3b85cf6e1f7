"""Visual prompt tuning: prompts in the image tower only, text fixed (Jia et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from clip import CLIP
from dassl.config import CfgNode as CN
from dassl.config.rules import whole
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptLearner, PromptTrainer
from trainers.core.prompts import MOST_BLOCKS, MOST_TOKENS
from trainers.ivlp import VisionLanguageLearner


@TRAINER_REGISTRY.register()
class VPT(PromptTrainer):
    NODE = "VPT"
    OPTIONS = {
        "VPT": CN(
            {
                "N_CTX_VISION": 2,  # visual prompt tokens P
                "CTX_INIT": "a photo of a",  # fixed words before the class name
                "PREC": "fp16",  # fp32, fp16, bf16, amp or amp_bf16
                "PROMPT_DEPTH_VISION": 1,  # blocks of the image tower with prompts, 1 is shallow only
            }
        )
    }

    ALLOWED = {"N_CTX_VISION": whole(1, MOST_TOKENS), "PROMPT_DEPTH_VISION": whole(1, MOST_BLOCKS)}

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        options = self.cfg.TRAINER.VPT
        return VisionLanguageLearner(
            clip_model,
            classnames,
            context=options.CTX_INIT,
            text_length=0,
            text_depth=0,
            vision_length=options.N_CTX_VISION,
            vision_depth=options.PROMPT_DEPTH_VISION,
        )
