"""The models behind the golden records, drawn anew from seeds: tiny CLIPs, and checkpoints of the methods.

Every tensor has a generator of its own, seeded with the number of the set, a word for the model and the
CRC-32 of the tensor's name. `public/README.md` says which checkpoint entries are drawn and which are CLIP's.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

SEED = 11
PIXELS, PATCH, BLOCKS = 32, 16, 3
TOKENS, VOCABULARY = 77, 49408


class Size(NamedTuple):
    number: int
    vision: int
    text: int
    joint: int
    text_blocks: int = BLOCKS


SIZES = {
    "b16": Size(1, 768, 512, 512),
    "l14": Size(2, 1024, 768, 768),
    "b16t12": Size(3, 768, 512, 512, text_blocks=12),
}

# How a checkpoint's tensor is spread about 0, by its name; the first pattern that fits counts.
SPREADS = (
    (r"(^|\.)bias$|bias_vectors$", 0.02),
    (r"(^|\.)VPT$|image_encoder.*\.VPT_shallow$", 0.3),
    (r"(^|\.)(ctx|VPT_shallow)$|compound_prompts_text", 0.04),
    (r"running_mean$", 0.1),
    (r"compound_rep_tokens$", 0.3),
)


def draw(model: int, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Standard normal values in double precision."""
    return np.random.default_rng([SEED, model, crc32(name.encode())]).standard_normal(shape)


def single(values: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...], float]]:
    yield f"{name}.weight", (width,), 0.1
    yield f"{name}.bias", (width,), 0.05


def _tower(prefix: str, width: int, blocks: int) -> Iterator[tuple[str, tuple[int, ...], float]]:
    into = 2.0 * width**-0.5 * (2 * blocks) ** -0.5  # what is added to the residual stream
    for i in range(blocks):
        block = f"{prefix}transformer.resblocks.{i}"
        yield from _norm(f"{block}.ln_1", width)
        yield f"{block}.attn.in_proj_weight", (3 * width, width), 1.5 * width**-0.5
        yield f"{block}.attn.in_proj_bias", (3 * width,), 0.02
        yield f"{block}.attn.out_proj.weight", (width, width), into
        yield f"{block}.attn.out_proj.bias", (width,), 0.02
        yield from _norm(f"{block}.ln_2", width)
        yield f"{block}.mlp.c_fc.weight", (4 * width, width), 1.5 * (2 * width) ** -0.5
        yield f"{block}.mlp.c_fc.bias", (4 * width,), 0.02
        yield f"{block}.mlp.c_proj.weight", (width, 4 * width), into
        yield f"{block}.mlp.c_proj.bias", (width,), 0.02


def _tensors(size: Size) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """(name, shape, standard deviation) of a CLIP's tensors."""
    vision, text = size.vision**-0.5, size.text**-0.5
    yield "visual.class_embedding", (size.vision,), vision
    yield "visual.positional_embedding", ((PIXELS // PATCH) ** 2 + 1, size.vision), vision
    yield "visual.conv1.weight", (size.vision, 3, PATCH, PATCH), (3 * PATCH**2) ** -0.5
    yield "visual.proj", (size.vision, size.joint), vision
    yield from _norm("visual.ln_pre", size.vision)
    yield from _tower("visual.", size.vision, BLOCKS)
    yield from _norm("visual.ln_post", size.vision)
    yield "token_embedding.weight", (VOCABULARY, size.text), 0.02
    yield "positional_embedding", (TOKENS, size.text), 0.01
    yield from _tower("", size.text, size.text_blocks)
    yield from _norm("ln_final", size.text)
    yield "text_projection", (size.text, size.joint), text


def tiny_clip(name: str) -> dict[str, Tensor]:
    """State dict, in OpenAI's format, of the tiny stand-in for ViT-B/16 ("b16") or ViT-L/14 ("l14")."""
    size = SIZES[name]
    state = {}
    for key, shape, spread in _tensors(size):
        values = draw(size.number, key, shape) * spread
        state[key] = single(values + 1.0 if re.search(r"ln_\w+\.weight$", key) else values)
    state["logit_scale"] = single(np.log(100.0))
    numbers = {"input_resolution": PIXELS, "context_length": TOKENS, "vocab_size": VOCABULARY}
    return state | {key: torch.tensor(value) for key, value in numbers.items()}


def learned(tag: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor that the checkpoint's method trains."""
    z = draw(crc32(tag.encode()), name, shape)
    if name.endswith(("conv1.1.weight", ".scale")):  # batch norm, DePT's scale of a channel
        return single(1.0 + 0.1 * z)
    if name.endswith("running_var"):
        return single(0.2 * np.exp(0.3 * z))
    for pattern, spread in SPREADS:
        if re.search(pattern, name):
            return single(spread * z)
    if re.search(r"\.(proj_rep|[AB])$", name):  # a matrix that rows are multiplied by
        return single(z * float(shape[0]) ** -0.5)
    assert name.endswith(".weight"), name  # of a linear layer
    return single(z * float(math.prod(shape[1:])) ** -0.5)


def checkpoint(specs: dict[str, Any], tag: str, clips: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """State dict of a run's checkpoint by its tag, with all that the original repository stores."""
    spec = specs[tag]
    state = {}
    for here, (model, there, parts) in spec.get("frozen", {}).items():
        for key, tensor in clips[model].items():
            if key.startswith(there) and re.match(parts, key.removeprefix(there)):
                state[here + key.removeprefix(there)] = tensor
    for key, (drawn_for, name, *shape) in spec["drawn"].items():
        state[key] = learned(drawn_for or tag, name or key, tuple(shape))
    for key, (model, first, last, start, end) in spec.get("embedded", {}).items():
        ids = torch.zeros(last - first, TOKENS, dtype=torch.long)
        for row, numbers in zip(ids, specs["ids"][spec["ids"]][first:last], strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
        state[key] = clips[model]["token_embedding.weight"][ids[:, start:end]]
    return state | {key: torch.tensor(value) for key, value in spec.get("numbers", {}).items()}


def digest(state: dict[str, Tensor]) -> str:
    """SHA-256 over names in order of the alphabet, each followed by its values."""
    total = hashlib.sha256()
    for key in sorted(state):
        total.update(key.encode())
        total.update(np.ascontiguousarray(state[key].numpy()).tobytes())
    return total.hexdigest()
