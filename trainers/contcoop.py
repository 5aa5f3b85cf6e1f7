"""ContCoOp: a context that attends to each class's words, so that it goes along when CLIP is replaced.

Reconstructed from the abstract of Wang et al., "Towards Compatible Fine-tuning for Vision-Language Model
Updates" (arXiv 2412.20895): neither its text nor its code could be had. From there are the ideas: class
embeddings meet the learned prompts in an attention layer before the text tower, zero-shot knowledge is
distilled. The layer's form, that of the distillation, and every weight are ours.

Shape legend: C classes, L of them that a mini-batch needs, M context tokens, W tokens of the longest class
name, D width of the text tower, E width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip import CLIP, tokenize
from dassl.config import CfgNode as CN
from dassl.config.rules import number, one_of
from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp, CoOpLearner
from trainers.core import PromptLearner, View
from trainers.core.prompts import TextPrompts
from trainers.core.templates import template_of


class ContCoOpLearner(CoOpLearner):
    """``ctx`` [M, D], ``ln``, and ``q``, ``k``, ``v``, ``o`` [D, D].

    The embeddings of the class names are those of the CLIP in use, and in no checkpoint.
    """

    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    o: nn.Linear
    words: Tensor
    unused: Tensor
    mix: Callable[[Callable[[], Tensor]], Tensor] | None = None  # of contexts under two sets of these tensors

    def __init__(self, clip: CLIP, classnames: Sequence[str], options: CN, init_scale: float) -> None:
        super().__init__(clip, classnames, options)
        width = clip.arch.transformer_width
        self.ln = nn.LayerNorm(width)
        for name, scale in (("q", 1.0), ("k", 1.0), ("v", 1.0), ("o", init_scale)):
            layer = nn.Linear(width, width, bias=False)
            nn.init.normal_(layer.weight, std=scale * width**-0.5)
            self.add_module(name, layer)
        words, unused = class_words(clip, classnames)
        self.register_buffer("words", words, persistent=False)  # [C, W, D]
        self.register_buffer("unused", unused, persistent=False)  # [C, W]

    def context(self, classes: Tensor | None = None) -> Tensor:
        """G [L, M, D]: ``ctx`` and what it takes from the words of each class, whatever their order."""
        words, unused = self.words, self.unused
        if classes is not None:
            words, unused = words[classes.to(words.device)], unused[classes.to(words.device)]
        length = len(self.ctx)
        ctx = self.ctx.expand(len(words), -1, -1)
        seen = self.ln(torch.cat([ctx, words], dim=1))
        hidden = F.pad(unused, (length, 0))[:, None, :]
        scores = self.q(seen[:, :length]) @ self.k(seen).mT / seen.shape[-1] ** 0.5
        attention = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        return ctx + self.o(attention @ self.v(seen))

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        compute = lambda: self.context(classes)  # noqa: E731
        context = compute() if self.mix is None else self.mix(compute)
        if classes is not None:  # where each class has its place
            empty = context.new_zeros(len(self.words), *context.shape[1:])
            context = empty.index_copy(0, classes.to(context.device), context)
        return self.prompts(context, classes)


def class_words(clip: CLIP, classnames: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token embeddings [C, W, D] of the class names, and which of them [C, W] stand for nothing."""
    tokens = tokenize([name.replace("_", " ") for name in classnames], clip.arch.context_length)
    lengths = tokens.argmax(dim=1) - 1
    longest = int(lengths.max())
    embedding = clip.token_embedding
    with torch.no_grad():
        words = embedding(tokens[:, 1 : 1 + longest].to(embedding.weight.device)).clone()
    return words, (torch.arange(longest) >= lengths[:, None]).to(words.device)


@TRAINER_REGISTRY.register()
class ContCoOp(CoOp):
    OPTIONS = {
        "CONTCOOP": CN(
            {
                "KD_WEIGHT": 1.0,  # of the distillation of zero-shot CLIP; 0: none
                "KD_TYPE": "kl",  # of the classes' probabilities; or cos, of text features
                "INIT_SCALE": 0.02,  # of o: how much of the classes the context has at the start; 0: nothing
            }
        )
    }
    ALLOWED = {"KD_TYPE": one_of("kl", "cos"), "KD_WEIGHT": number(0), "INIT_SCALE": number(0)}
    READS = ("DATASET.TEMPLATE",)

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if cfg.TRAINER.COOP.CSC:
            raise ValueError(
                "TRAINER.COOP.CSC is True, but the context of ContCoOp is one for all classes, which attends "
                "to each: set it to False"
            )

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        options = self.cfg.TRAINER
        return ContCoOpLearner(clip_model, classnames, options.COOP, options.CONTCOOP.INIT_SCALE)

    def prepare(self) -> None:
        super().prepare()
        self.zero_shot = self.zero_shot_text([template_of(self.cfg, self.dm.dataset)])  # [C, E]

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """Distillation of zero-shot CLIP with the data set's hand-written prompt."""
        options = self.cfg.TRAINER.CONTCOOP
        if not options.KD_WEIGHT:
            return {}
        fixed = self.zero_shot if view.classes is None else self.zero_shot[view.classes]
        assert view.text_features is not None
        if options.KD_TYPE == "cos":
            loss = 8 * (
                1 - (view.text_features * fixed).sum(dim=1).mean()
            )  # the weight of Yao et al., CVPR 2023
        else:
            teacher = self.model.logits(view.image_features, fixed).log_softmax(dim=1)
            loss = F.kl_div(logits.log_softmax(dim=1), teacher, reduction="batchmean", log_target=True)
        return {"loss_kd": options.KD_WEIGHT * loss}
