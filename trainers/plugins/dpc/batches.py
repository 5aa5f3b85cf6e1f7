"""Mini-batches completed with hard negatives, whose images threads load.

Shape legend: b images of the mini-batch, n base classes, L <= b * K pairs after sampling, E joint width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from dassl.engine.processes import agreed
from trainers.plugins.dpc.sampler import first_of_each, hard_negatives

Item = TypeVar("Item")  # whatever stands for one image of the pool


class Ranking(NamedTuple):
    """What the frozen tuned prompt says of a mini-batch."""

    scores: Tensor  # [b, n], similarity with every base class
    features: Tensor | None  # [b, E], image features, where no tuned tensor enters the image tower


@dataclass(frozen=True)
class Negatives(Generic[Item]):
    """The negative sampler of Sec. 3.3: which images complete a mini-batch.

    Attributes:
        rank: images [b, 3, H, W] -> `Ranking` under the frozen tuned prompt.
        pool: images to draw negatives from, by class.
        load: (item of the pool, seed of its augmentation) -> image [3, H, W].
        k: Top-K.
        limits: most and fewest negatives of an image, see `hard_negatives`.
        keeps_duplicates: a class may have several own images; if not, the first of each stays.
        threads: that load images.
    """

    rank: Callable[[Tensor], Ranking]
    pool: Mapping[int, Sequence[Item]]
    load: Callable[[Item, int], Tensor]
    k: int
    limits: tuple[int, int]
    keeps_duplicates: bool
    threads: int = 1

    def complete(self, batches: Iterable[Mapping[str, Any]], seed: str) -> Iterator[dict[str, Any]]:
        """Each mini-batch (``img`` [b, 3, H, W], ``label`` [b]) with its hard negatives, L pairs.

        P is frozen, so ranking does not depend on the training state: while the model trains on one
        mini-batch, the next is ranked and its negatives are loaded.

        Yields:
            ``img`` [L, 3, H, W] and ``label`` [L], the own images first, then the negatives;
            ``query_features`` [b, E] of the own images where no tuned tensor enters the image tower,
            else None.

        Args:
            seed: fixes every draw, whatever the number of threads.
        """
        rng = random.Random(seed)
        with ThreadPoolExecutor(max(1, self.threads)) as threads:
            for pairs in one_ahead(self.start(batch, rng, threads) for batch in batches):
                yield pairs.batch()

    def start(self, batch: Mapping[str, Any], rng: random.Random, threads: ThreadPoolExecutor) -> Pairs:
        """Choose the hard negatives of a mini-batch and let ``threads`` load their images."""
        images, labels = batch["img"], batch["label"]
        if not self.keeps_duplicates:
            rows = first_of_each(labels)
            images, labels = images[rows], labels[rows]
        ranking = self.rank(images)
        pairs = Pairs(images, labels.tolist(), ranking.features)
        scores = agreed(ranking.scores)
        for classes in hard_negatives(scores, labels.tolist(), self.k, self.limits, rng):
            for label in classes:
                item = rng.choice(self.pool[label])
                pairs.negatives.append(threads.submit(self.load, item, rng.getrandbits(32)))
                pairs.labels.append(label)
        return pairs


class Pairs:
    """A mini-batch whose negatives are being loaded.

    Args:
        images: [b, 3, H, W], the own ones.
        labels: b classes; those of the negatives are added.
        features: [b, E] of the own images, or None.
    """

    def __init__(self, images: Tensor, labels: list[int], features: Tensor | None) -> None:
        self.images, self.labels, self.features = images, labels, features
        self.negatives: list[Future[Tensor]] = []

    def batch(self) -> dict[str, Any]:
        """The L pairs, when all images are there."""
        negatives = [future.result() for future in self.negatives]
        images = torch.cat([self.images, torch.stack(negatives)]) if negatives else self.images
        return {"img": images, "label": torch.tensor(self.labels), "query_features": self.features}


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, the next one made before one is given."""
    iterator = iter(items)
    try:
        present = next(iterator)
    except StopIteration:
        return
    for upcoming in iterator:
        yield present
        present = upcoming
    yield present
