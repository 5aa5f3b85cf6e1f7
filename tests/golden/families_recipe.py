"""The tiny CLIPs of the golden records, rebuilt from seeds: the recipes are facts of the records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

FAMILIES = Path(__file__).parent / "families"


def family(name: str) -> dict[str, Any]:
    """What is recorded of a family: sizes, keys with shapes, seed."""
    return json.loads((FAMILIES / "families.json").read_text())[name]


def _draw(fam: dict[str, Any], what: str) -> np.random.Generator:
    return np.random.default_rng([fam["seed"], fam["weights_id"], crc32(what.encode())])


def _scale(key: str, shape: list[int]) -> tuple[float, float]:
    """Standard deviation and offset of a tensor's values."""
    leaf = key.split(".")[-1]
    if re.search(r"(^|\.)(ln_\w+|norm\w*)\.(weight|bias)$", key):
        return (0.2, 1.0) if leaf == "weight" else (0.1, 0.0)
    if "bias" in leaf:
        return 0.1, 0.0
    if leaf in ("class_embedding", "cls_token", "pos_embed") or key == "visual.positional_embedding":
        return 0.5, 0.0
    if leaf == "positional_embedding":
        return 0.05, 0.0
    if key.endswith("token_embedding.weight"):
        return 0.1, 0.0
    if leaf in ("text_projection", "proj"):
        return shape[0] ** -0.5, 0.0
    sharp = leaf == "in_proj_weight" or bool(re.search(r"\.(q_proj|k_proj)\.weight$", key))
    return (1.5 if sharp else 1.0) * float(np.prod(shape[1:])) ** -0.5, 0.0


def family_state(name: str) -> dict[str, Tensor]:
    """The weights of a family's tiny model, float16 values held as float32."""
    fam, state = family(name), {}
    for key, shape in fam["keys"]:
        if key in fam["constants"]:
            values = np.full(shape, fam["constants"][key])
        else:
            std, offset = _scale(key, shape)
            values = _draw(fam, key).standard_normal(shape) * std + offset
        state[key] = torch.from_numpy(np.asarray(values, dtype=np.float16).astype(np.float32))
    return state


def family_inputs(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Images [4, 3, H, H], token ids [6, 77] and context vectors [4, D]."""
    fam = family(name)
    size, length = fam["image_size"], fam["context_length"]
    images = _draw(fam, "input:images").standard_normal((4, 3, size, size)).astype(np.float32)
    rng = _draw(fam, "input:tokens")
    tokens = np.full((6, length), fam["pad_id"], dtype=np.int64)
    for row, words in zip(tokens, (5, 6, 7, 8, 11, length - len(fam["first_ids"]) - 1), strict=True):
        drawn = rng.integers(300, fam["vocab_size"] - 10, size=words)
        ids = [*fam["first_ids"], *drawn, fam["end_id"]]
        row[: len(ids)] = ids
    vectors = (_draw(fam, "input:vectors").standard_normal((4, fam["text_width"])) * 0.1).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(tokens), torch.from_numpy(vectors)
