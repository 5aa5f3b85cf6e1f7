"""What all families need: the origin of weights, and tensors put into a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clip.arch import Architecture
from clip.model import CLIP

_BUFFERS = ("attn_mask",)  # open_clip's causal mask, which some files hold


# How a caller declares what is unknown.
REMEDY = (
    'Declare it: clip.load(path, activation="gelu"|"quick_gelu", head_width=N), or the settings '
    "MODEL.BACKBONE.ACTIVATION and MODEL.BACKBONE.HEAD_WIDTH. The activation is gelu in models of LAION and "
    "DataComp, quick_gelu in those of OpenAI, MetaCLIP and DFN; head_width is 64 in ViT-B and ViT-L, 80 in "
    "ViT-H, 88 in ViT-g, 104 in ViT-bigG"
)


@dataclass(frozen=True)
class Origin:
    """What is known of weights beside their tensors."""

    activation: str | None  # as the caller declares it, or None
    head_width: int | None  # the same, of the image tower
    published: bool  # they are one of OpenAI's models

    def agreed(self, activation: str, head_width: int, who: str) -> tuple[str, int]:
        """What ``who`` (the family or the publisher) is known to have.

        Raises:
            ValueError: the caller declares something else.
        """
        declared = {"activation": self.activation, "head_width": self.head_width}
        for name, known in {"activation": activation, "head_width": head_width}.items():
            if declared[name] not in (None, known):
                raise ValueError(f"{name} is declared as {declared[name]!r}, but that of {who} is {known!r}")
        return activation, head_width


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different values the group of ``pattern`` takes at the beginning of keys."""
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def text_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of `Architecture` that tell of OpenAI's text tower, and the joint width.

    Raises:
        KeyError: a key of that tower is missing.
    """
    return {
        "embed_dim": state["text_projection"].shape[1],
        "context_length": state["positional_embedding"].shape[0],
        "vocab_size": state["token_embedding.weight"].shape[0],
        "transformer_width": state["ln_final.weight"].shape[0],
        "transformer_layers": count(state, r"transformer\.resblocks\.(\d+)\."),
        "transformer_mlp_width": hidden_width(state["transformer.resblocks.0.mlp.c_fc.weight"]),
    }


def hidden_width(weight: Tensor) -> int | None:
    """`Architecture`'s entry for an MLP whose first matrix is ``weight`` [hidden, D]."""
    hidden, width = weight.shape
    return None if hidden == 4 * width else hidden


def assemble(arch: Architecture, state: Mapping[str, Tensor]) -> CLIP:
    """A float32 CLIP in evaluation mode of the tensors in ``state``, by the names in `CLIP`.

    Raises:
        ValueError: keys are missing or left over, or shapes do not fit; names them.
    """
    with torch.device("meta"):
        model = CLIP(arch)
    tensors = {
        key: value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if key not in _BUFFERS
    }
    expected = model.state_dict()
    wrong = [f"{key}: missing" for key in expected if key not in tensors]
    wrong += [f"{key}: unknown" for key in tensors if key not in expected]
    wrong += [
        f"{key}: shape {tuple(tensors[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    if wrong:
        listed = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise ValueError(f"the CLIP weights do not fit the architecture inferred from them: {listed}")
    model.load_state_dict(tensors, assign=True)
    return model.eval()
