"""A weight w_b that chooses itself: the one with the lowest loss on the validation images.

The DPC paper names adaptive weights as future work (Sec. 5). Loss, not accuracy: a few images a class make
accuracy too coarse to tell weights apart. No test image is seen, nothing is trained again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

AUTO = "auto"  # TRAINER.DPC.WEIGHT_BASE
GRID = tuple(i / 20 for i in range(21))
ROUNDS = 2  # how often every group is looked at, where there are several
VISUAL = ("vis", "image", "proj")  # what is in the names of tensors that the image tower sees

GROUPINGS: dict[str, Callable[[str], str]] = {
    "one": lambda name: "",
    "tower": lambda name: "visual" if any(part in name.lower() for part in VISUAL) else "text",
    "tensor": lambda name: name,
}


def choose_shares(
    names: Iterable[str],
    loss: Callable[[Mapping[str, float]], float],
    grouping: str = "one",
    grid: Sequence[float] = GRID,
) -> dict[str, float]:
    """The weight of P' for every tensor, equal within a group.

    One weight for all comes first; from there each group in turn takes its best, the others as they are.
    Of equal losses the smaller weight wins, which stays nearer to P.

    Args:
        names: of the dual tensors.
        loss: mean validation loss under weights by name.
        grouping: tensors that have the same weight: ``one`` (all), by ``tower``, each ``tensor`` its own.
        grid: weights to choose from, rising.
    """
    group_of = {name: GROUPINGS[grouping](name) for name in names}
    groups = list(dict.fromkeys(group_of.values()))
    shares = dict.fromkeys(groups, 0.0)

    def value(change: Mapping[str, float]) -> float:
        chosen = {**shares, **change}
        return loss({name: chosen[group] for name, group in group_of.items()})

    def best(change: Callable[[float], Mapping[str, float]]) -> Mapping[str, float]:
        return change(min(grid, key=lambda weight: value(change(weight))))

    shares.update(best(lambda weight: dict.fromkeys(groups, weight)))
    for group in groups * ROUNDS if len(groups) > 1 else ():
        shares.update(best(lambda weight, group=group: {group: weight}))  # type: ignore[misc]
    return {name: shares[group] for name, group in group_of.items()}


def summary(shares: Mapping[str, float]) -> str:
    """For a log: ``0.35``, or the weights with how many tensors have each."""
    counts = Counter(shares.values())
    if len(counts) == 1:
        return f"{next(iter(counts)):g}"
    return ", ".join(f"{weight:g} ({count} tensors)" for weight, count in sorted(counts.items()))


def validation_images(dataset: Any, why: str) -> list[Any]:
    """The validation images of a data set.

    Raises:
        ValueError: it has none but the test images; the message begins with ``why``.
    """
    if not getattr(dataset, "val", None) or getattr(dataset, "val_is_test", False):
        raise ValueError(f"{why}: {type(dataset).__name__} has no validation images; give w_b as a number")
    return dataset.val
