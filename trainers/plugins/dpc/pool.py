"""Images that hard negatives are drawn from, by class."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from dassl.data.datasets import Datum

Pool = dict[int, list[Datum]]  # label -> images
_SETTING = "TRAINER.DPC.NEGATIVE_POOL"


def is_library(pool: str) -> bool:
    """Whether ``TRAINER.DPC.NEGATIVE_POOL`` names a file of images."""
    return pool.endswith(".json")


def by_class(items: Iterable[Datum], dataset: Any) -> Pool:
    """Images of a data set by their label.

    Raises:
        ValueError: a class has none.
    """
    pool: Pool = {label: [] for label in range(dataset.num_classes)}
    for item in items:
        pool[item.label].append(item)
    if empty := [dataset.classnames[label] for label, images in pool.items() if not images]:
        raise ValueError(f"no training image to draw as a hard negative for: {', '.join(empty[:10])}")
    return pool


def read_library(path: str, dataset: Any) -> Pool:
    """A picture library of the DPC repository, ``SPLE_<DataSet>.json``.

    It is ``{"train": [{class name: [label, [image, ...]]}], ...}``. Its labels are not used: they count all
    classes, those of a run only its own. Images are relative to the folder that the data set's are in.

    Args:
        dataset: with ``classnames``, ``image_dir`` and ``dataset_dir``.

    Raises:
        FileNotFoundError: there is no such file, or an image of it is not there.
        ValueError: it is no such library, or lacks a class of this run.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{_SETTING} is {path!r}, but there is no such file; such files list the full training split: "
            f"{_SETTING} train draws from it without one"
        )
    try:
        classes = json.loads(Path(path).read_text(encoding="utf-8"))["train"][0]
        images = {name: list(map(str, entry[1])) for name, entry in classes.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{_SETTING}: {path} is not a picture library: it must hold "
            '{"train": [{class name: [label, [image, ...]]}]}'
        ) from error
    if lacking := [name for name in dataset.classnames if not images.get(name)]:
        raise ValueError(f"{_SETTING}: {path} has no images of {', '.join(lacking[:10])}")
    listed = cache(_names_in)  # a folder is listed once, not asked for each of its images
    return {
        label: [Datum(_find(image, dataset, listed, path), label, classname=name) for image in images[name]]
        for label, name in enumerate(dataset.classnames)
    }


def _names_in(folder: str) -> set[str]:
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def _find(image: str, dataset: Any, listed: Callable[[str], set[str]], path: str) -> str:
    folders = (dataset.image_dir, dataset.dataset_dir)
    outside = os.path.isabs(image) or ".." in Path(image).parts
    for folder in () if outside else folders:
        parent, name = os.path.split(os.path.join(folder, image))
        if name in listed(parent):
            return os.path.join(parent, name)
    raise FileNotFoundError(f"{_SETTING}: {path} names {image!r}, which is not in {' or '.join(folders)}")
