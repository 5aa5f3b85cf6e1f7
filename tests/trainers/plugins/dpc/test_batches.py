"""Mini-batches completed with hard negatives: every image shows the class that its label says."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from trainers.plugins.dpc.batches import Negatives, Ranking, one_ahead

CLASSES, PER_CLASS = 6, 5
# an image is [class, place in the pool]; the pool of class c starts at a place of its own
POOL = {label: [(label, place) for place in range(PER_CLASS)] for label in range(CLASSES)}


def picture(label: int, place: int) -> torch.Tensor:
    return torch.tensor([label, place]).float().reshape(2, 1, 1).expand(2, 2, 2).clone()


def load(item: tuple[int, int], seed: int) -> torch.Tensor:
    time.sleep(0.001 * (seed % 3))  # threads end in another order than they start
    return picture(*item)


def rank(images: torch.Tensor) -> Ranking:
    """The classes next to an image's own are the hardest."""
    own = images[:, 0, 0, 0]
    return Ranking(-(torch.arange(CLASSES) - own[:, None]).abs(), images[:, 0, :1, 0])


def batch(*labels: int) -> dict[str, Any]:
    images = torch.stack([picture(label, 100 + i) for i, label in enumerate(labels)])
    return {"img": images, "label": torch.tensor(labels)}


FEW = Negatives(rank, POOL, load, k=3, limits=(2, 0), keeps_duplicates=False)
ALL = replace(FEW, limits=(3, 2), keeps_duplicates=True)


def shown(found: dict[str, Any]) -> list[tuple[int, int]]:
    return [tuple(int(v) for v in image[:, 0, 0]) for image in found["img"]]  # type: ignore[misc]


@pytest.mark.parametrize("negatives", [FEW, ALL])
@pytest.mark.parametrize("threads", [1, 4])
def test_every_image_is_of_the_class_of_its_label(negatives: Negatives[Any], threads: int) -> None:
    batches = [batch(0, 3), batch(2, 2, 5), batch(4), batch(1, 0, 1), batch(1, 3)] * 5
    drawn: Counter[tuple[int, int]] = Counter()
    for found in replace(negatives, threads=threads).complete(batches, "1"):
        assert [label for label, _ in shown(found)] == found["label"].tolist()
        own = [place >= 100 for _, place in shown(found)]
        assert own == sorted(own, reverse=True)  # the own images first
        count = sum(own)
        assert set(found["label"][:count].tolist()).isdisjoint(found["label"][count:].tolist())
        drawn.update(item for item in shown(found)[count:])
    assert {label for label, _ in drawn} == set(range(CLASSES))
    assert {place for _, place in drawn} == set(range(PER_CLASS))  # not the first image every time


def test_the_negatives_are_the_hardest_classes_in_their_order() -> None:
    [found] = FEW.complete([batch(0)], "1")
    assert found["label"].tolist() == [0, 1, 2]
    [found] = FEW.complete([batch(0, 5)], "1")
    assert found["label"].tolist() == [0, 5, 1, 2, 4, 3]


def test_only_a_reading_that_keeps_them_has_several_images_of_a_class() -> None:
    repeated = batch(2, 0, 2, 2)
    [found] = FEW.complete([repeated], "1")
    assert shown(found)[:2] == [(2, 100), (0, 101)] and found["label"].tolist().count(2) == 1
    assert len(found["query_features"]) == 2
    [found] = ALL.complete([repeated], "1")
    assert shown(found)[:4] == [(2, 100), (0, 101), (2, 102), (2, 103)]
    assert found["label"].tolist()[:4] == [2, 0, 2, 2] and len(found["query_features"]) == 4


def draws(threads: int, seed: str) -> list[list[tuple[int, int]]]:
    batches = [batch(0, 3), batch(2, 5), batch(4)] * 3
    return [shown(found) for found in replace(ALL, threads=threads).complete(batches, seed)]


def test_the_seed_alone_fixes_the_draws() -> None:
    assert draws(1, "1/0") == draws(4, "1/0") == draws(1, "1/0")
    assert draws(1, "1/0") != draws(1, "1/1")
    assert draws(1, "1/0") != draws(1, "2/0")


def test_every_image_has_augmentations_of_its_own() -> None:
    seeds: list[int] = []

    def note(item: tuple[int, int], seed: int) -> torch.Tensor:
        seeds.append(seed)
        return picture(*item)

    first, second = [list(replace(FEW, load=note).complete([batch(0, 3)] * 4, "1")) for _ in range(2)]
    count = len(seeds) // 2
    assert len(set(seeds[:count])) == count and seeds[:count] == seeds[count:]
    assert [shown(found) for found in first] == [shown(found) for found in second]


def test_no_mini_batch_gives_none() -> None:
    assert list(FEW.complete([], "1")) == []


def test_an_image_whose_negatives_are_all_held_stands_alone() -> None:
    two = replace(FEW, pool={label: POOL[label] for label in (0, 1)}, k=2, limits=(1, 0))
    two = replace(two, rank=lambda images: Ranking(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), None))
    [found] = two.complete([batch(0, 1)], "1")
    assert shown(found) == [(0, 100), (1, 101)] and found["label"].tolist() == [0, 1]
    assert found["query_features"] is None


def test_what_fails_in_a_thread_is_raised() -> None:
    def broken(item: tuple[int, int], seed: int) -> torch.Tensor:
        raise OSError("image 7 is damaged")

    with pytest.raises(OSError, match="image 7 is damaged"):
        list(replace(FEW, load=broken, threads=2).complete([batch(0)], "1"))


def test_a_mini_batch_is_started_while_the_one_before_is_trained() -> None:
    ranked: list[int] = []

    def note(images: torch.Tensor) -> Ranking:
        ranked.append(int(images[0, 0, 0, 0]))
        return rank(images)

    given = [
        f["label"][0].item() for f in replace(FEW, rank=note).complete([batch(c) for c in range(4)], "1")
    ]
    assert given == ranked == [0, 1, 2, 3]
    ranked.clear()
    running = replace(FEW, rank=note).complete([batch(c) for c in range(4)], "1")
    assert next(running)["label"][0] == 0 and ranked == [0, 1]
    assert next(running)["label"][0] == 1 and ranked == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_one_ahead_keeps_the_order_and_is_ahead_by_one(count: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(count):
            made.append(i)
            yield i

    given = []
    for item in one_ahead(items()):
        given.append(item)
        assert made == list(range(min(item + 2, count)))
    assert given == list(range(count))


def test_start_chooses_before_any_image_is_there() -> None:
    class Later(ThreadPoolExecutor):
        def submit(self, function: Callable[..., Any], *words: Any, **named: Any) -> Any:
            (label, _), _seed = words
            self.asked = [*getattr(self, "asked", []), label]
            return super().submit(function, *words, **named)

    with Later(1) as threads:
        pairs = FEW.start(batch(0, 3), random.Random("1"), threads)
        assert pairs.labels == [0, 3, *threads.asked]
