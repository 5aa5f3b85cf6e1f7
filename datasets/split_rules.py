"""Upstream's rules for splits: how it made its split files, and splits that have none.

Upstream lists folders in the file system's order; here they are sorted, so that every machine finds the same.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from dassl.utils import listdir_nohidden
from datasets.split_file import Item, Split

# Upstream continues the run's random numbers; the same split for all runs needs a seed of its own: its first.
SPLIT_SEED = 1
_TRAIN_SHARE, _VAL_SHARE = 0.5, 0.2  # of a class; the rest is for testing
_VAL_OF_TRAINVAL = 0.2  # of the training images of a class, where only the test images are given


def class_folders(
    images: Path, ignored: Collection[str] = (), renamed: Mapping[str, str] | None = None
) -> list[list[Item]]:
    """The images of each class folder in ``images``; labels follow the sorted names of the folders."""
    names = [name for name in listdir_nohidden(str(images), sort=True) if name not in ignored]
    return [
        [
            Item(f"{name}/{image}", label, (renamed or {}).get(name, name))
            for image in listdir_nohidden(str(images / name), sort=True)
        ]
        for label, name in enumerate(names)
    ]


def by_label(items: Iterable[Item]) -> list[list[Item]]:
    """The items of each label, labels in the order of their first item."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return list(groups.values())


def split_in_three(groups: Iterable[Sequence[Item]], rng: random.Random) -> Split:
    """Each class at random into 50% train, 20% val and 30% test.

    Raises:
        ValueError: a class is too small to give each part an image.
    """
    split: Split = {"train": [], "val": [], "test": []}
    for group in groups:
        items = list(group)
        rng.shuffle(items)
        n_train, n_val = round(len(items) * _TRAIN_SHARE), round(len(items) * _VAL_SHARE)
        if not 0 < n_train < n_train + n_val < len(items):
            what = f"class {items[0].classname!r} has {len(items)} images" if items else "a class is empty"
            raise ValueError(f"{what}; a split into train, val and test needs at least 4 a class")
        split["train"] += items[:n_train]
        split["val"] += items[n_train : n_train + n_val]
        split["test"] += items[n_train + n_val :]
    return split


def split_trainval(trainval: Iterable[Item], rng: random.Random) -> tuple[list[Item], list[Item]]:
    """Each class at random into 80% train and 20% val.

    Raises:
        ValueError: a class is too small to give each part an image.
    """
    train: list[Item] = []
    val: list[Item] = []
    for items in by_label(trainval):
        n_val = round(len(items) * _VAL_OF_TRAINVAL)
        if n_val < 1:
            raise ValueError(
                f"class {items[0].classname!r} has {len(items)} training images; "
                "taking validation images from them needs at least 3 a class"
            )
        rng.shuffle(items)
        val += items[:n_val]
        train += items[n_val:]
    return train, val
