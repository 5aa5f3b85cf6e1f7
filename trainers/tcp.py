"""TCP: CoOp, and prompts of each class that a small network makes of its name (Yao et al., CVPR 2024,
arXiv 2311.18231).

Shape legend: C classes, L of them that a mini-batch needs, M context tokens, D width of the text tower,
E width of the joint embedding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clip import CLIP, Written
from clip.vit import QuickGELU
from dassl.config import CfgNode as CN
from dassl.config.rules import number, template, whole
from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp, CoOpLearner
from trainers.core import PromptLearner, View
from trainers.core.prompts import TextPrompts
from trainers.core.templates import ensemble_features, template_of


class TCPLearner(CoOpLearner):
    """``ctx`` [M, D], and ``meta_net``: a class's text feature [E] -> M tokens [D] of that class.

    The network (the paper's Textual Knowledge Embedding) enters before one block of the text tower, where its
    tokens take the places of the context. The original's makes 4 tokens, whatever M is.

    Args:
        fixed: L2-normalised text features [C, E] of the classes in a hand-written prompt.
        template: what stands behind the context, with {} for the name.
        block: the text tower's block, from 0.
    """

    fixed: Tensor

    def __init__(
        self, clip: CLIP, classnames: Sequence[str], options: CN, fixed: Tensor, template: str, block: int
    ) -> None:
        super().__init__(clip, classnames, options, template)
        length, width = self.ctx.shape
        embed = clip.arch.embed_dim
        self.meta_net = nn.Sequential(
            OrderedDict(
                linear1=nn.Linear(embed, embed // 4),
                relu=QuickGELU(),
                linear2=nn.Linear(embed // 4, length * width),
            )
        )
        self.register_buffer("fixed", fixed, persistent=False)
        self.block = block

    def class_prompts(self, classes: Tensor | None = None) -> Tensor:
        """[L, M, D] of the given class indices, or of all classes."""
        fixed = self.fixed if classes is None else self.fixed[classes]
        return self.meta_net(fixed).unflatten(1, self.ctx.shape)

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        return self.prompts(self.ctx, classes, {self.block: Written(self.class_prompts(classes))})


@TRAINER_REGISTRY.register()
class TCP(CoOp):
    """Its context starts at random, and stands in front of the words that ``TRAINER.TCP.TEMPLATE`` says.

    The original's ``TRAINER.COOP.W`` is read by nobody, there and here; the weight is ``TRAINER.TCP.W``.
    """

    OPTIONS = {
        "TCP": CN(
            {
                "W": 8.0,  # lambda, of the distance between tuned and hand-written text features
                "BLOCK": 8,  # block of the text tower, from 0, before which the class prompts enter
                "TEMPLATE": "{}.",  # what stands behind the context, {} for the name; configs/protocols.txt
            }
        )
    }
    ALLOWED = {"W": number(0), "BLOCK": whole(0), "TEMPLATE": template()}
    READS = ("DATASET.TEMPLATE",)

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.COOP
        if options.CSC or options.CLASS_TOKEN_POSITION != "end":
            raise ValueError(
                f"TRAINER.COOP.CSC is {options.CSC}, CLASS_TOKEN_POSITION {options.CLASS_TOKEN_POSITION!r}: "
                "class prompts take the place of one context in front of the name, so set False and 'end'"
            )

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        own, blocks = self.cfg.TRAINER.TCP, clip_model.arch.transformer_layers
        if blocks <= own.BLOCK:
            raise ValueError(
                f"TRAINER.TCP.BLOCK is {own.BLOCK}, but this CLIP's text tower has {blocks} blocks, counted "
                f"from 0: set it to {blocks - 1} or less"
            )
        fixed = ensemble_features(clip_model, classnames, [template_of(self.cfg, self.dm.dataset)])
        options = self.cfg.TRAINER.COOP
        return TCPLearner(clip_model, classnames, options, fixed, own.TEMPLATE, own.BLOCK)

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """Mean cosine distance of the classes' text features from the fixed ones."""
        assert view.text_features is not None
        fixed = self.model.prompt_learner.fixed
        fixed = fixed if view.classes is None else fixed[view.classes]
        similarity = torch.linalg.vecdot(view.text_features, fixed).mean()
        return {"loss_kg": self.cfg.TRAINER.TCP.W * (1 - similarity)}
