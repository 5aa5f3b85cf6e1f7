"""EVA02-CLIP in open_clip's files: a text tower as OpenAI's in ``text.``, timm's image tower in
``visual.trunk.``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from clip.arch import Architecture
from clip.families.origin import Origin, assemble, count, hidden_width, text_sizes
from clip.model import CLIP

_TRUNK = "visual.trunk."
# The first pattern that matches a key renames it.
_NAMES = (
    (r"text\.", ""),
    (r"visual\.trunk\.cls_token$", "visual.class_embedding"),
    (r"visual\.trunk\.pos_embed$", "visual.positional_embedding"),
    (r"visual\.trunk\.patch_embed\.proj\.", "visual.conv1."),
    (r"visual\.trunk\.blocks\.(\d+)\.norm([12])\.", r"visual.transformer.resblocks.\1.ln_\2."),
    (r"visual\.trunk\.blocks\.", "visual.transformer.resblocks."),
    (r"visual\.trunk\.norm\.", "visual.ln_post."),
    (r"visual\.trunk\.head\.", "visual.head."),
)


def is_one(state: Mapping[str, Tensor]) -> bool:
    """Whether this is an EVA02-CLIP: its gated MLP and its separate projections, behind timm's names."""
    marks = ("blocks.0.mlp.fc1_g.weight", "blocks.0.attn.q_proj.weight", "patch_embed.proj.weight")
    return all(_TRUNK + mark in state for mark in marks)


def build(state: Mapping[str, Tensor], origin: Origin) -> CLIP:
    """See `clip.build_model`; the family leaves nothing to declare."""
    activation, head_width = origin.agreed("gelu", 64, "EVA02-CLIP")
    tensors = {_renamed(key): value for key, value in state.items()}
    try:
        # timm's are those of a batch of one: [1, 1, D] and [1, tokens, D]
        tensors["visual.class_embedding"] = tensors["visual.class_embedding"].flatten()
        tensors["visual.positional_embedding"] = tensors["visual.positional_embedding"].flatten(0, 1)
        patches = tensors["visual.conv1.weight"]
        side = round((tensors["visual.positional_embedding"].shape[0] - 1) ** 0.5)
        arch = Architecture(
            **text_sizes(tensors),
            image_resolution=side * patches.shape[-1],
            vision_layers=count(tensors, r"visual\.transformer\.resblocks\.(\d+)\."),
            vision_width=patches.shape[0],
            vision_patch_size=patches.shape[-1],
            family="eva02",
            activation=activation,
            vision_head_width=head_width,
            vision_mlp_width=hidden_width(tensors["visual.transformer.resblocks.0.mlp.fc1_g.weight"]),
            vision_norm_eps=1e-6,
        )
    except KeyError as error:
        raise ValueError(f"these are no EVA02-CLIP weights: the key {error} is missing") from error
    return assemble(arch, tensors)


def _renamed(key: str) -> str:
    for pattern, name in _NAMES:
        if re.match(pattern, key):
            return re.sub(pattern, name, key, count=1)
    return key
