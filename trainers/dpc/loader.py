"""Mini-batches completed with hard negatives, prepared one step ahead of the training step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from trainers.dpc.sampler import distinct_first, hard_negatives
from trainers.dpc.weighting import Variant

Item = TypeVar("Item")  # whatever stands for one image of the pool


class Ranking(NamedTuple):
    """What the frozen tuned prompt says of a mini-batch."""

    scores: Tensor  # [b, n], similarity with every base class
    features: Tensor | None  # [b, E], image features, where no tuned tensor enters the image tower


@dataclass
class _Pending:
    """A mini-batch whose negatives are being loaded."""

    images: Tensor
    labels: list[int]
    features: Tensor | None
    negatives: list[Future[Tensor]]


class HardNegativeLoader(Generic[Item]):
    """Wraps the training loader: L <= b * K image-text pairs for each of its mini-batches (Sec. 3.3).

    P is frozen, so ranking does not depend on the training state: the next mini-batch is ranked, and
    its negatives are loaded by threads, while the model trains on the present one.

    Yields:
        ``img`` [L, 3, H, W] and ``label`` [L], the mini-batch's own images first, then the negatives;
        ``query_features`` [b, E] of the own images where these do not depend on tuned tensors, else None.

    Args:
        loader: yields ``img`` [b, 3, H, W] and ``label`` [b].
        rank: images -> `Ranking` under the frozen tuned prompt.
        pool: images to draw negatives from, by class.
        load: (item of the pool, seed of its augmentation) -> image [3, H, W].
        k: Top-K.
        seed: of the drawing; with ``epoch`` it fixes every draw, whatever the number of threads.
    """

    def __init__(
        self,
        loader: Iterable[Mapping[str, Any]],
        rank: Callable[[Tensor], Ranking],
        pool: Mapping[int, Sequence[Item]],
        load: Callable[[Item, int], Tensor],
        k: int,
        variant: Variant,
        seed: int,
        threads: int = 1,
    ) -> None:
        self.loader, self.rank, self.pool, self.load = loader, rank, pool, load
        self.k, self.variant, self.seed, self.threads = k, variant, seed, threads
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = random.Random(f"{self.seed}/{self.epoch}")
        with ThreadPoolExecutor(max(1, self.threads)) as threads:
            pending = None
            for batch in self.loader:
                upcoming = self._start(batch, rng, threads)
                if pending is not None:
                    yield self._finish(pending)
                pending = upcoming
            if pending is not None:
                yield self._finish(pending)

    def _start(self, batch: Mapping[str, Any], rng: random.Random, threads: ThreadPoolExecutor) -> _Pending:
        images, labels = batch["img"], batch["label"]
        if self.variant == "paper":  # every class once
            rows = distinct_first(labels)
            images, labels = images[rows], labels[rows]
        ranking = self.rank(images)
        pending = _Pending(images, labels.tolist(), ranking.features, [])
        for negatives in hard_negatives(ranking.scores, pending.labels.copy(), self.k, self.variant, rng):
            for label in negatives:
                item = rng.choice(self.pool[label])
                pending.negatives.append(threads.submit(self.load, item, rng.getrandbits(32)))
                pending.labels.append(label)
        return pending

    def _finish(self, pending: _Pending) -> dict[str, Any]:
        negatives = [future.result() for future in pending.negatives]
        images = torch.cat([pending.images, torch.stack(negatives)]) if negatives else pending.images
        return {"img": images, "label": torch.tensor(pending.labels), "query_features": pending.features}
