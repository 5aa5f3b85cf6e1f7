"""Lists of one's own images: CSV and JSON."""

from __future__ import annotations

import csv
import json
import logging
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datasets.split_file import PARTS, Item, Split, check_split, first_named, read_split
from datasets.split_rules import SPLIT_SEED, by_label, split_in_three, split_trainval

log = logging.getLogger(__name__)

_FORM = "path, class and, if wanted, split (train, val or test) and label (0, 1, ...)"


def read_list(path: Path) -> Split:
    """The split that a list describes.

    A CSV file has a header and the columns ``path``, ``class`` and, if wanted, ``split`` and ``label``; a
    JSON file is a list of objects with these keys, or has the layout of a split file. Paths are relative to
    the list and stay below it; ``{"images": folder, "rows": [...]}`` names another folder. Without labels,
    classes are numbered in the order of their sorted names; without splits, each class is split at random
    into 50% train, 20% val and 30% test, the same way each time.

    Raises:
        ValueError: another layout; the line is named.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"DATASET.DIR is {path}, which is no regular file; give a folder, or a list")
    if path.suffix == ".csv":
        return _split_rows(_csv_rows(path), path)
    if path.suffix != ".json":
        raise ValueError(f"DATASET.DIR is {path}; a list must be a .csv or .json file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if isinstance(content, dict) and "rows" in content:
        if not isinstance(content["rows"], list) or not isinstance(content.get("images"), str):
            raise ValueError(
                f"{path} must hold rows, a list, and images, the folder that they are relative to"
            )
        return _split_rows(enumerate(content["rows"], 1), path, path.parent / content["images"])
    if isinstance(content, dict):
        return read_split(path)
    if not isinstance(content, list):
        raise ValueError(f"{path} holds {str(content)[:100]}; a list must be a list of objects with {_FORM}")
    return _split_rows(enumerate(content, 1), path)


def images_of(path: Path) -> Path:
    """The folder that the paths of a list are relative to: its own, unless it names another."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
        return path.parent / content["images"] if isinstance(content, dict) else path.parent
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return path.parent  # what is wrong with it is said where it is read


def complete(split: Split, source: Path) -> Split:
    """A split with validation and test images, from what is given of it.

    Without ``test``, the ``val`` images are both; without ``val``, 20% of the training images validate.

    Raises:
        ValueError: neither is given.
    """
    if not split["val"] and not split["test"]:
        raise ValueError(f"{source} has neither val nor test images")
    if not split["test"]:
        return {**split, "test": split["val"]}
    if not split["val"]:
        train, val = split_trainval(split["train"], random.Random(SPLIT_SEED))
        return {**split, "train": train, "val": val}
    return split


def _csv_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            # spreadsheets put semicolons in some languages
            separator = max(",;\t", key=header.count)
            reader = csv.DictReader(file, delimiter=separator, skipinitialspace=True, strict=True)
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _split_rows(rows: Iterable[tuple[int, Any]], path: Path, images: Path | None = None) -> Split:
    """The split of a list's rows; ``images`` where their paths are not relative to the list."""
    checked = [(number, _check_row(row, f"{path}, entry {number}")) for number, row in rows]
    if not checked:
        raise ValueError(f"{path} names no images")
    _check_files(checked, path, images or path.parent)
    names = sorted({row["class"] for _, row in checked})
    parts: dict[str, list[Item]] = {}
    for number, row in checked:
        label = names.index(row["class"])
        if row.get("label") not in (None, ""):
            label = _label(row["label"], f"{path}, entry {number}")
        item = Item(row["path"].replace("\\", "/"), label, row["class"])
        parts.setdefault(row.get("split") or "", []).append(item)
    if list(parts) == [""]:
        log.info(
            "%s has no column split: of each class 50%% train, 20%% validate and 30%% test, drawn at random, "
            "the same way each time", path,
        )  # fmt: skip
        groups = sorted(by_label(parts[""]), key=lambda group: group[0].label)
        split = split_in_three(groups, random.Random(SPLIT_SEED))
        check_split(split, path)
        return split
    if "" in parts:
        raise ValueError(f"{path}: {len(parts[''])} images have no split, e.g. {parts[''][0].path}")
    given = {part: parts.get(part, []) for part in PARTS}
    check_split(given, path)
    return complete(given, path)


def _check_files(rows: Iterable[tuple[int, Mapping[str, Any]]], path: Path, images: Path) -> None:
    """Raise FileNotFoundError where images are not there; names the lines."""
    word = "line" if path.suffix == ".csv" else "entry"
    named = [(number, images / str(row["path"]).replace("\\", "/")) for number, row in rows]
    if missing := [f"{word} {number}: {file}" for number, file in named if not file.is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of the images named in {path} are missing:\n{first_named(missing)}\n"
            f"Paths are relative to {images}: mend the list, or put the images there."
        )


def _label(value: Any, where: str) -> int:
    try:
        if isinstance(value, str | int) and not isinstance(value, bool):
            return int(value)
    except ValueError:
        pass
    raise ValueError(f"{where}: label {str(value)[:100]!r} is no whole number")


def _check_row(row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(row, dict) or not all(
        isinstance(row.get(k), str) and row[k] for k in ("path", "class")
    ):
        raise ValueError(f"{where} is {str(row)[:200]}; it must give {_FORM} as text")
    if unknown := [key for key in row if key not in ("path", "class", "split", "label")]:
        raise ValueError(f"{where} has unknown columns: {unknown}; known: {_FORM}")
    if str(row.get("split") or "train") not in PARTS:
        raise ValueError(f"{where}: split is {row['split']!r}; it must be train, val or test")
    return row
