"""Ensembles of hand-written prompt templates, and text features averaged over them.

The template of a data set is its own: `dassl.data.datasets.DatasetBase.template`, ``DATASET.TEMPLATE``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clip import CLIP, tokenize
from dassl.config import CfgNode as CN

# The seven of OpenAI's 80 ImageNet templates that alone do as well as all together.
SELECTED_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

# 60 of OpenAI's 80 ImageNet templates, over which PromptSRC averages its frozen text features.
ENSEMBLE_TEMPLATES = (
    "a photo of a {}.",
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
)


def template_of(cfg: CN, dataset: Any) -> str:
    """The prompt template of a run: ``DATASET.TEMPLATE``, else that of the data set itself."""
    return cfg.DATASET.TEMPLATE or dataset.template


@torch.no_grad()
def ensemble_features(
    model: CLIP, classnames: Sequence[str], templates: Sequence[str], normalize_each: bool = True
) -> Tensor:
    """Zero-shot text features [C, E] averaged over templates, L2-normalised.

    Args:
        normalize_each: also normalise before averaging, as CLIP's ensembles do; PromptSRC's do not.
    """
    device = model.positional_embedding.device
    total = torch.zeros(len(classnames), model.arch.embed_dim, device=device)
    for template in templates:
        texts = [template.replace("{}", name.replace("_", " ")) for name in classnames]
        features = model.encode_text(tokenize(texts, model.arch.context_length).to(device))
        total += F.normalize(features, dim=-1) if normalize_each else features
    return F.normalize(total / len(templates), dim=-1)
