"""What the ways to fetch a file share: their errors, their progress bar, and what a full disk means."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dassl.utils import progress

TIMEOUT = 60  # seconds without an answer
TRIES = 3  # of one address, when the line breaks


class DownloadError(OSError):
    """A download that did not succeed; the message says why."""


class LineBroken(OSError):
    """The line broke, or what is there cannot be gone on with: worth another try."""


def byte_bar(name: str, total: int, have: int = 0) -> tqdm[Any]:
    """A progress bar of bytes, of which ``have`` are there; ``total`` 0: not known yet."""
    bar = progress(name, total)
    bar.unit, bar.unit_scale = "B", True
    bar.update(have)
    return bar


def size_of(path: Path) -> int:
    """In bytes; 0 where there is no file."""
    return path.stat().st_size if path.exists() else 0


def check_space(path: Path, needed: int) -> None:
    """Raise an ``OSError`` where the folder of ``path`` has no room for ``needed`` more bytes."""
    if needed > shutil.disk_usage(path.parent).free:
        raise no_space(path, needed)


@contextmanager
def full_disk_explained(path: Path, needed: Callable[[], int]) -> Iterator[None]:
    """Make of the error of a full disk one that says how many bytes more ``path`` needs; 0: not known."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(path, needed()) from error
        raise


def no_space(path: Path, needed: int) -> OSError:
    """The error of a full disk, which needs so many more bytes for ``path``; 0: not known."""
    free = _in_words(shutil.disk_usage(path.parent).free)
    wanted = (
        f"{_in_words(needed)} are needed, {free} are free"
        if needed
        else f"the {free} that are free are too little"
    )
    return OSError(
        errno.ENOSPC,
        f"no space left in {path.parent}: {wanted}; what is there is kept, so make room and run this again",
    )


def _in_words(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
