"""What only other people's trainers use of the data pipeline: samplers by domain and by class.

They are chosen by name (``DATALOADER.TRAIN_X.SAMPLER``), for Dassl's trainers for domain adaptation and
generalisation; nothing of this repository asks for them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from dassl.data.datasets.base_dataset import Datum


class _DomainSampler(Sampler[int]):
    """Batches of equally many images of each of ``n_domain`` domains (0: all of them).

    An epoch ends when a domain of the batch to come has too few images left.
    """

    shuffle: bool

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_domain: int = 0) -> None:
        self.domains: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(data_source):
            self.domains[item.domain].append(index)
        self.n_domain = n_domain if n_domain > 0 else len(self.domains)
        if self.n_domain > len(self.domains):
            raise ValueError(f"N_DOMAIN is {n_domain}, but the data has {len(self.domains)} domains")
        if batch_size % self.n_domain:
            raise ValueError(
                f"BATCH_SIZE {batch_size} is not a multiple of the {self.n_domain} domains of a batch"
            )
        self.n_per_domain = batch_size // self.n_domain
        # A shuffled epoch with a choice of domains has no fixed length: this is the length of one such epoch.
        state = random.getstate()
        self._length = sum(1 for _ in self)
        random.setstate(state)

    def __iter__(self) -> Iterator[int]:
        left = {domain: list(indices) for domain, indices in sorted(self.domains.items())}
        if self.shuffle:
            for indices in left.values():
                random.shuffle(indices)
        while True:
            domains = list(left)[: self.n_domain]
            if self.shuffle:
                domains = random.sample(list(left), self.n_domain)
            if any(len(left[domain]) < self.n_per_domain for domain in domains):
                return
            for domain in domains:
                yield from left[domain][: self.n_per_domain]
                del left[domain][: self.n_per_domain]

    def __len__(self) -> int:
        return self._length


class RandomDomainSampler(_DomainSampler):
    """Random domains, random images."""

    shuffle = True


class SeqDomainSampler(_DomainSampler):
    """The first domains, images in order."""

    shuffle = False


class RandomClassSampler(Sampler[int]):
    """Batches of ``batch_size // n_ins`` random classes with ``n_ins`` random images each.

    A class with fewer images than ``n_ins`` is filled up with repetitions. An epoch ends when too few classes
    have images left.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_ins: int) -> None:
        self.labels: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(data_source):
            self.labels[item.label].append(index)
        if n_ins < 1 or batch_size < n_ins:
            raise ValueError(f"N_INS must be in 1..BATCH_SIZE = {batch_size}, got {n_ins}")
        self.n_ins, self.n_classes = n_ins, batch_size // n_ins
        if self.n_classes > len(self.labels):
            raise ValueError(
                f"A batch of {batch_size} images with N_INS {n_ins} needs {self.n_classes} classes, "
                f"the data has {len(self.labels)}"
            )
        state = random.getstate()
        self._length = sum(1 for _ in self)
        random.setstate(state)

    def __iter__(self) -> Iterator[int]:
        groups = {label: self._groups(indices) for label, indices in self.labels.items()}
        while len(groups) >= self.n_classes:
            for label in random.sample(list(groups), self.n_classes):
                yield from groups[label].pop()
                if not groups[label]:
                    del groups[label]

    def _groups(self, indices: list[int]) -> list[list[int]]:
        """The images of one class, shuffled, in groups of ``n_ins``; an incomplete last group is left out."""
        if len(indices) < self.n_ins:
            return [random.choices(indices, k=self.n_ins)]
        indices = random.sample(indices, len(indices))
        ends = range(self.n_ins, len(indices) + 1, self.n_ins)
        return [indices[end - self.n_ins : end] for end in ends]

    def __len__(self) -> int:
        return self._length
