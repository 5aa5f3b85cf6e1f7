"""How far P' moved from P, channel by channel (Sec. 4.4 of the DPC paper), beside controls.

Shape legend: R rows (the tokens of a prompt, the outputs of a layer), D channels, n classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def rows_of(tensor: Tensor) -> Tensor:
    """A tensor as rows of channels [R, D]; what has one dimension is one row."""
    return tensor.detach().double().reshape(-1, tensor.shape[-1] if tensor.dim() else 1)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation [R] over the channels of two tensors [R, D]; NaN where a row is constant."""
    first, second = (rows - rows.mean(dim=1, keepdim=True) for rows in (first, second))
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))


def relative_move(parallel: Tensor, tuned: Tensor) -> Tensor:
    """``||P' - P|| / ||P||`` of every row [R] of tensors [R, D]."""
    return (parallel - tuned).norm(dim=1) / tuned.norm(dim=1)


def moved_at_random(parallel: Tensor, tuned: Tensor, generator: torch.Generator) -> Tensor:
    """P moved as far as P' is from it, row by row of [R, D], each in a random direction."""
    direction = torch.randn(tuned.shape, generator=generator, dtype=tuned.dtype)
    return tuned + direction * ((parallel - tuned).norm(dim=1) / direction.norm(dim=1))[:, None]


def negatives_by_class(ranked: Iterable[tuple[int, list[int]]], n: int) -> Tensor:
    """How often each class [n true, n negative] is a hard negative of another.

    Args:
        ranked: true class and negative classes of each image.
    """
    counts = torch.zeros(n, n, dtype=torch.long)
    for label, negatives in ranked:
        for negative in negatives:
            counts[label, negative] += 1
    return counts


def share_kept(before: Mapping[str, list[int]], after: Mapping[str, list[int]]) -> float:
    """Of the negatives of ``before``, by image, the share that the same images have in ``after``."""
    pairs = [(set(before[name]), set(after[name])) for name in before if name in after]
    total = sum(len(one) for one, _ in pairs)
    return sum(len(one & other) for one, other in pairs) / total if total else float("nan")
