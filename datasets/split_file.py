"""Upstream's split files: JSON with "train", "val" and "test", each a list of [path, label, class name]."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dassl.config.rules import is_line

log = logging.getLogger(__name__)

PARTS = ("train", "val", "test")
_NAMED = 10  # how many culprits an error message lists


class Item(NamedTuple):
    """One line of a split: path relative to the image folder, label, class name."""

    path: str
    label: int
    classname: str


Split = dict[str, list[Item]]


def read_split(path: Path, class_key: Callable[[str], str] | None = None) -> Split:
    """The checked content of a split file.

    Args:
        path: the file.
        class_key: what in an image's path tells its class apart from others; None: nothing does.

    Raises:
        ValueError: no JSON, another layout, a split that `check_split` refuses, or one without test images.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"split file {path} is not valid JSON ({error}); mend it, or delete it and fetch it again"
        ) from error
    split = _parse(content, path)
    check_split(split, path, class_key)
    if not split["test"]:
        raise ValueError(f"split file {path} has no test images")
    return split


def check_split(split: Split, path: Path, class_key: Callable[[str], str] | None = None) -> None:
    """Check what is said about the images of a split that comes from ``path``.

    Raises:
        ValueError: a label with two class names or none, a class name of two labels, labels that are not
            0 .. n-1, a class without training images, an image in two parts, or images that ``class_key``
            finds alike under two labels.
    """
    _check_paths(split, path)
    _check_classes(split, path)
    _check_parts(split, path)
    if class_key is not None:
        _check_keys(split, path, class_key)


def check_images(split: Mapping[str, list[Item]], image_dir: Path, split_file: Path) -> None:
    """Check that every image of a split is there, with one listing a folder instead of one query an image.

    Raises:
        FileNotFoundError: names the first missing images and how many there are.
    """
    wanted: dict[str, dict[str, None]] = {}
    for items in split.values():
        for item in items:
            folder, _, name = item.path.rpartition("/")
            wanted.setdefault(folder, {})[name] = None
    missing: list[object] = []
    count = 0
    for folder, names in wanted.items():
        present = _file_names(image_dir / folder)
        gone = [name for name in names if present is None or name not in present]
        count += len(gone)
        if present is None:
            missing.append(f"{image_dir / folder}/ (no such folder; {len(gone)} images)")
        else:
            missing.extend(image_dir / folder / name for name in gone)
    if missing:
        raise FileNotFoundError(
            f"{count} of the images named in {split_file} are missing:\n{first_named(missing)}\n"
            f"Unpack the images again ('python -m datasets.prepare' does where {image_dir} is not there), or "
            "use the split file that belongs to them."
        )


def check_not_empty(split: Mapping[str, list[Item]], image_dir: Path) -> None:
    """Check that no image file is empty, as interrupted copies leave them.

    Raises:
        FileNotFoundError: names the first that are not there, such as links to nowhere, and how many.
        ValueError: names the first empty files and how many there are.
    """
    paths = {os.path.join(image_dir, item.path) for items in split.values() for item in items}
    empty: list[str] = []
    gone: list[str] = []
    for path in sorted(paths):
        try:
            state = os.stat(path)
            if not stat.S_ISREG(state.st_mode):
                gone.append(f"{path} (no regular file)")
            elif state.st_size == 0:
                empty.append(path)
        except OSError as error:
            gone.append(f"{path} ({error.strerror})")
    if gone:
        raise FileNotFoundError(
            f"{len(gone)} images cannot be opened:\n{first_named(gone)}\nUnpack the images again."
        )
    if empty:
        raise ValueError(
            f"{len(empty)} images are empty files:\n{first_named(empty)}\nUnpack the images again."
        )


def first_named(paths: Sequence[object]) -> str:
    """The first of many paths, a line each."""
    more = f"\n  ... and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return "\n".join(f"  {path}" for path in paths[:_NAMED]) + more


def _file_names(folder: Path) -> set[str] | None:
    """The names of what is no folder in ``folder``; None where that is no folder itself."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)}
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parse(content: object, path: Path) -> Split:
    if not isinstance(content, dict) or any(not isinstance(content.get(part), list) for part in PARTS):
        raise ValueError(f'split file {path} must hold the lists "train", "val" and "test"')
    split: Split = {}
    for part in PARTS:
        split[part] = []
        for number, line in enumerate(content[part]):
            match line:
                case [str(image), int(label), str(classname)] if not isinstance(label, bool):
                    split[part].append(Item(image, label, classname))
                case _:
                    raise ValueError(
                        f"split file {path}: entry {number} of {part!r} is {line!r}, "
                        "not [path, label, class name]"
                    )
    return split


def _check_paths(split: Split, path: Path) -> None:
    """Refuse images outside the images' folder, and names that no log or prompt can hold."""
    for part in PARTS:
        for image, _, name in split[part]:
            if not is_line(image) or not is_line(name):
                raise ValueError(
                    f"split file {path}: {image!r} of class {name!r} in {part!r} has control characters"
                )
            if image.startswith("/") or ".." in image.split("/"):
                raise ValueError(
                    f"split file {path}: {image} in {part!r} is outside the images' folder; paths must be "
                    "relative to it, without '..' (a link in that folder may lead elsewhere)"
                )


def _check_classes(split: Split, path: Path) -> None:
    names: dict[int, str] = {}
    for part in PARTS:
        for item in split[part]:
            known = names.setdefault(item.label, item.classname)
            if known != item.classname:
                raise ValueError(
                    f"split file {path}: label {item.label} is called {known!r} and, for {item.path} "
                    f"in {part!r}, {item.classname!r}; every label needs one class name"
                )
    if sorted(names) != list(range(len(names))) or not names:
        absent = list(islice((n for n in range(max(names, default=0) + 1) if n not in names), _NAMED))
        raise ValueError(
            f"split file {path}: labels must be 0 .. {max(names, default=0)} without gaps; "
            f"missing: {absent}, lowest: {min(names, default=None)}"
        )
    labels: dict[str, int] = {}
    for label, name in sorted(names.items()):
        if not name.strip():
            raise ValueError(f"split file {path}: label {label} has an empty class name")
        if (other := labels.setdefault(name, label)) != label:
            raise ValueError(
                f"split file {path}: class name {name!r} has the labels {other} and {label}; "
                "every class name needs one label"
            )
    alike: dict[str, str] = {}
    for name in labels:
        if (first := alike.setdefault(" ".join(name.replace("_", " ").lower().split()), name)) != name:
            log.warning("%s: the classes %r and %r are the same words to CLIP", path, first, name)
    counts = Counter(item.label for item in split["train"])
    empty = [f"{label} ({names[label]})" for label in sorted(names) if not counts[label]]
    if empty:
        raise ValueError(f"split file {path}: no training images for class {', '.join(empty[:_NAMED])}")


def _check_parts(split: Split, path: Path) -> None:
    part_of: dict[str, str] = {}
    for part in PARTS:
        labels: dict[str, str] = {}
        for item in split[part]:
            if (name := labels.setdefault(item.path, item.classname)) != item.classname:
                raise ValueError(
                    f"split file {path}: image {item.path} in {part!r} is of two classes, {name!r} and "
                    f"{item.classname!r}"
                )
        if twice := len(split[part]) - len(labels):
            log.warning("split file %s: %d entries of %r are there twice, and count twice", path, twice, part)
        for image in labels:
            if (other := part_of.setdefault(image, part)) != part:
                raise ValueError(f"split file {path}: image {image} is in {other!r} and in {part!r}")


def _check_keys(split: Split, path: Path, class_key: Callable[[str], str]) -> None:
    known: dict[str, Item] = {}
    for part in PARTS:
        for item in split[part]:
            first = known.setdefault(class_key(item.path), item)
            if first.label != item.label:
                raise ValueError(
                    f"split file {path} is mislabelled: {item.path} in {part!r} is {item.classname!r} "
                    f"({item.label}), while {first.path} is {first.classname!r} ({first.label})"
                )
