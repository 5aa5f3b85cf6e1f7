"""CLIPs with OpenAI's towers and keys: OpenAI's own, and open_clip's of LAION, DataComp, MetaCLIP and DFN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clip.arch import Architecture
from clip.families.origin import REMEDY, Origin, assemble, count, hidden_width, text_sizes
from clip.model import CLIP

ACTIVATION, HEAD_WIDTH = "quick_gelu", 64  # of all models that OpenAI published
# Sizes that OpenAI's own files repeat as scalars, and nobody else's.
_MARKS = ("input_resolution", "context_length", "vocab_size")
# Of the image towers that were published with these keys (ViT-S to L, So400m, H, g, bigG, e).
_HEAD_WIDTHS = (64, 72, 80, 88, 104, 112)


def is_marked(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict carries the scalars of OpenAI's own files, their TorchScript archives included."""
    return _MARKS[0] in state


def openai_state_dict(model: CLIP) -> dict[str, Tensor]:
    """The tensors of ``model`` with the scalars of OpenAI's files, by which `build_model` knows what it is.

    Raises:
        ValueError: the model has not the activation and head width of OpenAI's.
    """
    arch = model.arch
    if (arch.family, arch.activation, arch.vision_head_width) != ("openai", ACTIVATION, HEAD_WIDTH):
        raise ValueError(f"OpenAI's models have {ACTIVATION} and {HEAD_WIDTH}-wide heads, this one is {arch}")
    sizes = (arch.image_resolution, arch.context_length, arch.vocab_size)
    return {**model.state_dict(), **dict(zip(_MARKS, map(torch.tensor, sizes), strict=True))}


def build(state: Mapping[str, Tensor], origin: Origin) -> CLIP:
    """See `clip.build_model`."""
    sizes = _sizes(state)
    activation, head_width = _settled(sizes, origin)
    arch = Architecture(**sizes, activation=activation, vision_head_width=head_width)
    return assemble(arch, {key: value for key, value in state.items() if key not in _MARKS})


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of `Architecture` that the shapes of tensors tell.

    Raises:
        ValueError: a key that every CLIP has is missing.
    """
    try:
        sizes = text_sizes(state)
        if "visual.proj" in state:
            conv = state["visual.conv1.weight"]
            side = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
            return sizes | {
                "image_resolution": side * conv.shape[-1],
                "vision_layers": count(state, r"visual\.transformer\.resblocks\.(\d+)\."),
                "vision_width": conv.shape[0],
                "vision_patch_size": conv.shape[-1],
                "vision_mlp_width": hidden_width(state["visual.transformer.resblocks.0.mlp.c_fc.weight"]),
            }
        side = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
        return sizes | {
            "image_resolution": side * 32,
            "vision_layers": tuple(count(state, rf"visual\.layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)),
            "vision_width": state["visual.layer1.0.conv1.weight"].shape[0],
            "vision_patch_size": None,
        }
    except KeyError as error:
        raise ValueError(f"these are no CLIP weights: the key {error} is missing") from error


def _settled(sizes: Mapping[str, Any], origin: Origin) -> tuple[str, int]:
    """Activation, and head width of the image tower.

    Raises:
        ValueError: one of them is unknown, or declared otherwise than it is known to be.
    """
    if origin.published:
        return origin.agreed(ACTIVATION, HEAD_WIDTH, "OpenAI's models")
    width, is_vit = sizes["vision_width"], isinstance(sizes["vision_layers"], int)
    possible = [w for w in _HEAD_WIDTHS if width % w == 0] if is_vit else [HEAD_WIDTH]
    head_width = origin.head_width
    if head_width is None and len(possible) == 1:
        head_width = possible[0]
    unknown = []
    if origin.activation is None:
        unknown.append("the activation of its MLPs")
    if head_width is None:
        unknown.append(f"the width of its image tower's attention heads ({width} channels together)")
    if origin.activation is None or head_width is None:
        raise ValueError(f"its tensors do not tell {' nor '.join(unknown)}. {REMEDY}")
    return origin.activation, head_width
