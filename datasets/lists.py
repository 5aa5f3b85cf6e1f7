"""Lists of images and class names that come with the data sets: text, .mat and JSON files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.split_file import Item


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, without blanks at the end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no text, or an empty file.
    """
    try:
        lines = [line.rstrip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file ({error}); fetch it again") from error
    if not any(lines):
        raise ValueError(f"{path} is empty; fetch it again")
    return [line for line in lines if line]


def read_items(path: Path, parse: Callable[[str], Item]) -> list[Item]:
    """One item a line.

    Raises:
        FileNotFoundError, ValueError: as `read_lines`; a line that ``parse`` fails on is named.
    """
    items = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            items.append(parse(line))
        except (KeyError, IndexError, ValueError) as error:
            reason = f"unknown class {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}, line {number}, cannot be read: {line!r} ({reason})") from error
    return items


def read_mat(path: Path, key: str) -> Any:
    """The first row of a variable in a MATLAB file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no MATLAB file, or it has no such variable.
    """
    from scipy.io import loadmat  # slow to import, and needed only once

    if not path.is_file():
        raise FileNotFoundError(f"No file at {path}")
    try:
        return loadmat(str(path))[key][0]
    except Exception as error:  # its reader fails in many ways
        raise ValueError(f"{path} is no MATLAB file with {key!r} ({error!r}); fetch it again") from error


def read_classnames(path: Path) -> dict[str, str]:
    """Class name of each folder, from lines of "folder class name", in the order of the file.

    Raises:
        FileNotFoundError, ValueError: as `read_lines`; a line without a name or a folder named twice.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        folder, _, name = line.partition(" ")
        if not name or folder in names:
            problem = f"folder {folder} is named twice" if folder in names else "no class name"
            raise ValueError(f"{path}, line {number}: {problem} ({line!r})")
        names[folder] = name
    return names
