"""Negative sampler (Sec. 3.3 of the DPC paper): which classes make a mini-batch hard.

Shape legend: b images of the mini-batch, n base classes, L <= b * K pairs after sampling.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor


def hard_negatives(
    scores: Tensor,
    labels: Sequence[int],
    k: int,
    limits: tuple[int, int],
    rng: random.Random,
) -> list[list[int]]:
    """Hard negative classes of each image: its Top-K under the tuned prompt without the true class.

    A class that the mini-batch holds already, as a true class of any image or as a negative of an
    earlier image, is left out.

    Args:
        scores: [b, n], similarity of each image with each base class under the frozen tuned prompt.
        labels: b true classes.
        k: Top-K, clamped to n.
        limits: most and fewest negatives of an image. Of its Top-K there are K, or K - 1 where the true
            class is among them; the hardest are taken. An image that has fewer left is topped up with
            random classes other than the first and the last, as far as n - 2 draws find any.
        rng: source of those random classes.

    Returns:
        b lists of classes, hardest first, pairwise disjoint.
    """
    n, (most, fewest) = scores.shape[1], limits
    ranked = scores.topk(min(k, n), dim=1).indices.tolist() if len(labels) else []
    held = set(labels)
    result = []
    for label, ranking in zip(labels, ranked, strict=True):
        candidates = [c for c in ranking if c != label][:most]
        chosen = [c for c in candidates if c not in held]
        held.update(chosen)
        chosen += _random_classes(fewest - len(chosen), n, held, rng)
        result.append(chosen)
    return result


def _random_classes(wanted: int, n: int, held: set[int], rng: random.Random) -> list[int]:
    """Up to ``wanted`` random classes not in ``held``, to which they are added, from at most n - 2 draws."""
    found: list[int] = []
    for _ in range(n - 2):
        if len(found) >= wanted:
            break
        candidate = rng.randint(1, n - 2)
        if candidate not in held:
            held.add(candidate)
            found.append(candidate)
    return found


def first_of_each(labels: Tensor) -> Tensor:
    """Indices of the first image of each class, in batch order."""
    seen: dict[int, int] = {}
    for i, label in enumerate(labels.tolist()):
        seen.setdefault(label, i)
    return torch.tensor(sorted(seen.values()), dtype=torch.long)
