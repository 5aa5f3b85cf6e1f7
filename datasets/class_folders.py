"""Data sets that are nothing but a folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from datasets.split_file import Item, first_named


def subfolders(images: Path) -> list[str]:
    """The names of the folders in ``images`` that are not hidden, sorted."""
    with os.scandir(images) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def check_folders(images: Path, found: Collection[str], wanted: Collection[str], source: Path) -> None:
    """Check that the class folders in ``images`` are those that ``source`` names.

    Raises:
        FileNotFoundError: class folders are missing.
        ValueError: there are folders of other classes.
    """
    found, wanted = set(found), set(wanted)
    if missing := sorted(wanted - found):
        listed = first_named([images / name for name in missing])
        raise FileNotFoundError(
            f"{len(missing)} of the class folders named in {source} are missing:\n{listed}\n"
            "Unpack the images again."
        )
    check_named(images, found, wanted, source)


def check_named(images: Path, found: Collection[str], names: Collection[str], source: Path) -> None:
    """Raise a ``ValueError`` when ``source`` has no class name for one of the folders in ``images``."""
    if unknown := sorted(set(found) - set(names)):
        listed = first_named([images / name for name in unknown])
        raise ValueError(
            f"{source} has no class name for {len(unknown)} folders:\n{listed}\n"
            "Remove what is no class, or use the list that belongs to the images."
        )


def list_images(images: Path, classes: Mapping[str, str]) -> list[Item]:
    """All files of class folders.

    Args:
        images: what the folders are relative to.
        classes: folder -> class name, in the order of the labels.

    Raises:
        FileNotFoundError: a class folder has no images.
    """
    items: list[Item] = []
    for label, (folder, classname) in enumerate(classes.items()):
        with os.scandir(images / folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False)
            )
        if not names:
            raise FileNotFoundError(f"class folder {images / folder} ({classname}) is empty; unpack it again")
        items.extend(Item(f"{folder}/{name}", label, classname) for name in names)
    return items
