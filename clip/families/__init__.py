"""From a state dict to a model: one file a family of CLIPs, which says how its tensors are read.

Tensors tell sizes. What they cannot tell (activation, head width) is a family's own, known from the origin of
the weights, or declared by the caller; where it is none of these, the weights are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from clip.arch import check_activation
from clip.families import eva02, openai
from clip.families.origin import Origin
from clip.model import CLIP

# What a key says of weights that are not built here, in order; the first that matches names them.
_FOREIGN = (
    (r"logit_bias$|visual\.trunk\.attn_pool\.", "SigLIP, whose text tower and tokenizer are others"),
    (r"(vision|text)_model\.", "in the layout of Hugging Face's transformers: take its open_clip file"),
    (r"text_decoder\.", "CoCa, which has a third tower"),
    (r"visual\.trunk\.", "a model with an image tower of timm's that is not EVA02's"),
    (r"text\.", "a model with a text tower that is not OpenAI's (a CustomTextCLIP of open_clip's)"),
)


def build_model(
    state: Mapping[str, Tensor],
    activation: str | None = None,
    head_width: int | None = None,
    source: str = "these weights",
    published: bool = False,
) -> CLIP:
    """A float32 CLIP in evaluation mode from a state dict of OpenAI's, open_clip's or EVA02's.

    Args:
        state: tensors by name; a "module." before all names is dropped.
        activation: "quick_gelu" or "gelu", declared where nothing else tells it.
        head_width: channels of an attention head of the image tower, likewise.
        source: what error messages call the weights.
        published: they are known to be one of OpenAI's models, from something else than their tensors.

    Raises:
        ValueError: another family; activation or head width unknown, or declared otherwise than they are
            known to be; keys missing or left over, or shapes that do not fit (names them).
    """
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        if activation is not None:
            check_activation(activation)
        origin = Origin(activation, head_width, published or openai.is_marked(state))
        if eva02.is_one(state):
            return eva02.build(state, origin)
        _refuse_foreign(state)
        return openai.build(state, origin)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def tells_all(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict says by itself what `build_model` would otherwise ask its caller."""
    return eva02.is_one(state) or openai.is_marked(state)


def _refuse_foreign(state: Mapping[str, Tensor]) -> None:
    for pattern, what in _FOREIGN:
        if any(re.match(pattern, key) for key in state):
            raise ValueError(
                f"this CLIP is {what}; it is not built here. Read are CLIPs with OpenAI's towers (OpenAI, "
                "LAION, DataComp, MetaCLIP, DFN) and EVA02-CLIP"
            )
