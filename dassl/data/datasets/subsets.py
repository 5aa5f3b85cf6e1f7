"""Base and new classes: the halves of a data set that ``DATASET.SUBSAMPLE_CLASSES`` chooses from."""

from __future__ import annotations

from typing import Any

from dassl.config import CfgNode
from dassl.config.allowed import SUBSETS


def subset_labels(subset: str, classes: int) -> range:
    """The labels of a subset among so many classes: base is their first half, rounded up, new the rest.

    Raises:
        ValueError: ``subset`` is none of `SUBSETS`.
    """
    check_subset(subset)
    half = (classes + 1) // 2
    return {"all": range(classes), "base": range(half), "new": range(half, classes)}[subset]


def check_subset(subset: str) -> None:
    """Raise a ``ValueError`` unless ``subset`` is one of `SUBSETS`."""
    if subset not in SUBSETS:
        choices = ", ".join(SUBSETS)
        raise ValueError(f"DATASET.SUBSAMPLE_CLASSES is {subset!r}; it must be one of {choices}")


def chosen_subset(cfg: CfgNode, dataset: Any) -> str:
    """``DATASET.SUBSAMPLE_CLASSES``, or all where the data set (or its class) has no halves."""
    return cfg.DATASET.SUBSAMPLE_CLASSES if getattr(dataset, "has_halves", True) else "all"
