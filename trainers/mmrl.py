"""MMRL: tokens of a space that both towers share enter their upper blocks (Guo and Gu, CVPR 2025,
arXiv 2503.08497).

Shape legend: B images, C classes, L of them that a mini-batch needs, P representation tokens, R width of the
space that they are in, D width of a tower, E width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip import CLIP, Written
from dassl.config import CfgNode as CN
from dassl.config.rules import number, one_of, several, whole
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.processes import in_shares
from trainers.core import PromptedCLIP, PromptTrainer, View
from trainers.core.model import unit
from trainers.core.prompts import (
    MOST_TOKENS,
    ContextPrompts,
    ImagePrompts,
    PromptLearner,
    TextPrompts,
    vision_sizes,
)
from trainers.core.templates import template_of


class RepresentationLearner(PromptLearner):
    """``compound_rep_tokens`` [P, R], and what maps them into the towers and out of the image tower.

    Before the first of the layers the mapped tokens are inserted, before the others they take their places.

    Args:
        template: the classes' fixed words, with {} for the name.
        options: the method's node of the settings.

    Raises:
        ValueError: the CLIP is a ResNet.
    """

    LEFTOVERS = r"prompt_embeddings$"
    share = 1.0  # of the new tokens in those that they replace

    def __init__(self, clip: CLIP, classnames: Sequence[str], template: str, options: CN) -> None:
        super().__init__()
        self.blocks = [layer - 1 for layer in options.REP_LAYERS]
        self.prompts = ContextPrompts(clip, classnames, "", 0, template=template)
        tokens = torch.empty(options.N_REP_TOKENS, options.REP_DIM)
        self.compound_rep_tokens = nn.Parameter(nn.init.normal_(tokens, std=0.02))
        self.add_maps(clip.arch.transformer_width, vision_sizes(clip)[0], clip.arch.embed_dim, options)

    def add_maps(self, text: int, vision: int, embed: int, options: CN) -> None:
        """What maps the tokens: into towers of these widths, and from the image tower to [E]."""
        for tower, width in (("v", vision), ("t", text)):
            maps = nn.ModuleList(nn.Linear(options.REP_DIM, width) for _ in self.blocks)
            self.add_module(f"compound_rep_tokens_r2{tower}proj", maps)
        self.proj_rep = nn.Parameter(vision**-0.5 * torch.randn(vision, embed))

    def mapped(self, tower: str) -> list[Tensor]:
        """[P, D] for each layer of tower "t" (text) or "v" (vision)."""
        maps = getattr(self, f"compound_rep_tokens_r2{tower}proj")
        return [into(self.compound_rep_tokens) for into in maps]

    def rep_feature(self, tokens: Tensor, visual: nn.Module) -> Tensor:
        """Feature [B, E] of the representation tokens [B, P, D] that left the image tower ``visual``."""
        return tokens.float().mean(dim=1) @ self.proj_rep

    def _written(self, tower: str) -> dict[int, Written]:
        first, *others = self.mapped(tower)
        written = (Written(first, inserted=True), *(Written(tokens, share=self.share) for tokens in others))
        return dict(zip(self.blocks, written, strict=True))

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        return self.prompts(None, classes, self._written("t"))

    def image_prompts(self) -> ImagePrompts:
        return ImagePrompts(deep=self._written("v"))

    def checkpoint_key(self, name: str) -> str:
        return f"image_encoder.{name}" if name == "proj_rep" else f"representation_learner.{name}"


class RepresentationCLIP(PromptedCLIP):
    """An image has two features side by side, [B, 2E]: the class token's and the representation tokens'."""

    prompt_learner: RepresentationLearner
    alpha: float  # share of the class feature in fused logits

    def image_features(self, images: Tensor) -> Tensor:
        learner, visual = self.prompt_learner, self.clip.visual
        written, last = learner.image_prompts().deep, len(learner.compound_rep_tokens)

        def features(rows: Tensor) -> Tensor:
            tokens = self.clip.image_tokens(rows, written, last)
            of_class = visual.project(tokens[:, 0])  # type: ignore[operator]
            return torch.cat([unit(of_class), unit(learner.rep_feature(tokens[:, 1:], visual))], dim=1)

        return in_shares(features, images)

    def class_logits(
        self, image_features: Tensor, text_features: Tensor | None, classes: Tensor | None
    ) -> Tensor:
        """Fused logits [B, L]; they are linear in the image's features."""
        assert text_features is not None
        of_class, of_rep = image_features.chunk(2, dim=1)
        return self.logits(torch.lerp(of_rep, of_class, self.alpha), text_features)


@TRAINER_REGISTRY.register()
class MMRL(PromptTrainer):
    """Tests by both features where ``TRAINER.TASK`` says so, else by the class feature alone.

    B2N: both on base classes; FS: both; CD: both on the classes that the prompts were tuned on.

    Under DPC every tensor is dual: the tokens, what maps them, and the representation feature's projection.
    Its weights mix these, each by itself, and leave ``ALPHA`` and the choice of features alone: base classes
    see the w_b mix through both features; new ones see the tokens' w_n mix through the class feature, and the
    projection's not at all. Negatives are ranked and contrasted by fused logits.

    The logits' factor is CLIP's temperature; the original writes 100, which is that of OpenAI's models.
    """

    NODE = "MMRL"
    MODEL_NAME = "MultiModalRepresentationLearner"
    OPTIONS = {
        "TASK": "",  # B2N, FS or CD; has no default
        "MMRL": CN(
            {
                "N_REP_TOKENS": 5,  # representation tokens P
                "REP_DIM": 512,  # R, width of the space that both towers share
                "REP_LAYERS": [6, 7, 8, 9, 10, 11, 12],  # blocks of both towers, from 1, that they enter
                "ALPHA": 0.7,  # share of the class feature in loss and fused logits, 0..1
                "REG_WEIGHT": 1.0,  # lambda, of the distance to CLIP's features; configs/protocols.txt
                "PREC": "amp",  # fp32, fp16, bf16, amp or amp_bf16
            }
        ),
    }
    ALLOWED = {
        "TASK": one_of("B2N", "FS", "CD", ""),
        "N_REP_TOKENS": whole(1, MOST_TOKENS),
        "REP_DIM": whole(1, 2**16),
        "REP_LAYERS": several(whole(1), least=1),
        "ALPHA": number(0, 1),
        "REG_WEIGHT": number(0),
    }
    READS = ("DATASET.TEMPLATE",)
    LEARNER = RepresentationLearner

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        if not cfg.TRAINER.TASK:
            raise ValueError("TASK is ''; set B2N (base to new), FS (few-shot) or CD (cross-dataset)")
        layers = list(cfg.TRAINER[self.NODE].REP_LAYERS)
        if layers != sorted(set(layers)):
            raise ValueError(f"TRAINER.{self.NODE}.REP_LAYERS is {layers}; give layers from 1 on, ascending")

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        options = self.cfg.TRAINER[self.NODE]
        most = min(vision_sizes(clip_model)[1], clip_model.arch.transformer_layers)
        if (layers := options.REP_LAYERS)[-1] > most:
            raise ValueError(
                f"TRAINER.{self.NODE}.REP_LAYERS is {layers}; give layers from 1 to {most}, the last"
            )
        return self.LEARNER(clip_model, classnames, template_of(self.cfg, self.dm.dataset), options)

    def assemble(self, clip_model: CLIP, learner: PromptLearner) -> PromptedCLIP:
        model = RepresentationCLIP(clip_model, learner)
        model.alpha = self.cfg.TRAINER[self.NODE].ALPHA
        return model

    def prepare(self) -> None:
        super().prepare()
        self.fixed_text_features = self.zero_shot_text([template_of(self.cfg, self.dm.dataset)])  # [C, E]

    def classification_loss(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of either feature."""
        assert view.text_features is not None
        alpha, parts = self.model.alpha, view.image_features.chunk(2, dim=1)
        logits_of = (self.model.logits(part, view.text_features) for part in parts)
        of_class, of_rep = (F.cross_entropy(each, view.columns) for each in logits_of)
        return {"loss_class": alpha * of_class, "loss_rep": (1 - alpha) * of_rep}

    def own_losses(self, view: View, logits: Tensor) -> dict[str, Tensor]:
        """Mean cosine distances of class and text features to zero-shot CLIP's."""
        assert view.text_features is not None
        weight = self.cfg.TRAINER[self.NODE].REG_WEIGHT
        text = self.fixed_text_features if view.classes is None else self.fixed_text_features[view.classes]
        with torch.no_grad():
            image = in_shares(lambda rows: unit(self.model.clip.encode_image(rows)), view.images)
        of_class = view.image_features.chunk(2, dim=1)[0]
        pairs = {"image": (of_class, image), "text": (view.text_features, text)}
        return {
            f"loss_reg_{k}": weight * (1 - F.cosine_similarity(*pair).mean()) for k, pair in pairs.items()
        }

    def fuses(self) -> bool:
        """Whether this run's classes are tested by both features."""
        task = self.cfg.TRAINER.TASK
        return task == "FS" or (self.scope.subset == "base" if task == "B2N" else self.on_source_classes())

    def test_logits(self, features: Tensor) -> Tensor:
        if self.fuses():
            return super().test_logits(features)
        with self.precision.autocast():
            return self.model.logits(features.chunk(2, dim=1)[0], self._text_features)
