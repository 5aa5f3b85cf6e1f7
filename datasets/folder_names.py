"""Class names of folders, from a ``classnames.txt`` where there is one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from datasets.lists import read_lines

log = logging.getLogger(__name__)


def read_folder_names(home: Path, folders: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Label and class name of each class folder; labels follow ``folders``.

    Folders of one class name are one class, with the label of the first of them.

    The lines of ``classnames.txt`` in ``home`` are either "folder class name", or, where no line begins
    with a folder's name, class names alone in the order of ``folders``. Without the file, folders are
    their own names.

    Raises:
        ValueError: the file names a folder twice or not at all.
    """
    path = home / "classnames.txt"
    names = {name: name for name in folders} if not path.is_file() else _parse(path, folders)
    by_name: dict[str, list[str]] = {}
    for folder, name in names.items():
        by_name.setdefault(name, []).append(folder)
    for name, merged in by_name.items():
        if len(merged) > 1:
            log.info("%s: the folders %s are one class, %s", path, ", ".join(merged), name)
    labels = {name: label for label, name in enumerate(dict.fromkeys(names[folder] for folder in folders))}
    return {folder: (labels[names[folder]], names[folder]) for folder in folders}


def _parse(path: Path, folders: Sequence[str]) -> dict[str, str]:
    lines = read_lines(path)
    pairs = [_pair(line, folders) for line in lines]
    if not any(pairs) and len(lines) == len(folders):
        return dict(zip(folders, (line.strip() for line in lines), strict=True))
    names: dict[str, str] = {}
    for line, pair in zip(lines, pairs, strict=True):
        if pair is None or pair[0] in names:
            problem = "names a folder for the second time" if pair else "begins with no class folder's name"
            raise ValueError(f'{path}: the line {line!r} {problem}; lines must be "folder class name"')
        names[pair[0]] = pair[1]
    if missing := [name for name in folders if name not in names]:
        raise ValueError(f"{path} has no line for class folder {', '.join(missing[:10])}")
    return names


def _pair(line: str, folders: Sequence[str]) -> tuple[str, str] | None:
    """Folder and class name; folders' names may hold blanks, so the longest one that fits counts."""
    fitting = [name for name in folders if line.startswith((f"{name} ", f"{name}\t"))]
    if not fitting:
        return None
    folder = max(fitting, key=len)
    return folder, line[len(folder) :].strip()
