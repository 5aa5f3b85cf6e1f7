"""The words of CLIP's vocabulary that learned context tokens are near.

Shape legend: C classes, M context tokens, D width of the text tower, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clip.tokenizer import default_tokenizer


class Context(NamedTuple):
    """Learned context tokens, and the words that they are compared with.

    Attributes:
        prompts: what a prompt is called -> [M, D], or [C, M, D] with a context of its own for each class.
        words: embeddings [V, D] of the vocabulary.
        classes: what the C classes are called; empty where there is one context for all.
        notes: what else is to be known of it.
    """

    prompts: dict[str, Tensor]
    words: Tensor
    classes: Sequence[str]
    notes: list[str]


class Neighbour(NamedTuple):
    """A word near a context token."""

    class_name: str
    position: int  # of the context token, from 1
    prompt: str
    rank: int  # from 1
    word: str
    token: int  # its row of the embedding
    distance: float


def nearest(vectors: Tensor, words: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """Rows of ``words`` [V, D] nearest to ``vectors`` [M, D], and their Euclidean distances: both [M, topk].

    Distances are those of the differences, so that a word's own is exactly 0; of equal ones the first stands
    first.
    """
    distances = torch.cdist(vectors, words, compute_mode="donot_use_mm_for_euclid_dist")  # [M, V]
    ordered, rows = distances.sort(dim=1, stable=True)
    return rows[:, :topk], ordered[:, :topk]


def neighbours(context: Context, topk: int) -> Iterator[Neighbour]:
    """The nearest words by class, context token, prompt and rank."""
    tokenizer = default_tokenizer()
    for index, name in enumerate(context.classes or [""]):
        found = {
            title: nearest(ctx[index] if ctx.dim() == 3 else ctx, context.words, topk)
            for title, ctx in context.prompts.items()
        }
        for position in range(next(iter(context.prompts.values())).shape[-2]):
            for title, (rows, distances) in found.items():
                pairs = zip(rows[position].tolist(), distances[position].tolist(), strict=True)
                for rank, (token, distance) in enumerate(pairs, 1):
                    word = tokenizer.word(token)
                    yield Neighbour(name, position + 1, title, rank, word, token, distance)
