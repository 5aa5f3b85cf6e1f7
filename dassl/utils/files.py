"""Files and folders. A file is written under a temporary name and then renamed: nobody ever reads half."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

# `MOST_PIXELS` is our limit, and lies below the one from which Pillow refuses by itself.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")  # as `atomic_path` names them


def mkdir_if_missing(dirname: str) -> None:
    """Create a folder and its parents."""
    os.makedirs(dirname, exist_ok=True)


def user_cache() -> Path:
    """The folder for what can be computed again: ``$XDG_CACHE_HOME/dpc``, usually ``~/.cache/dpc``."""
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "dpc"
    try:
        return Path.home() / ".cache" / "dpc"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / f"dpc-{os.getuid()}"


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """The names in a folder that do not start with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


def read_json(fpath: str) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: the file is not valid JSON.
    """
    with open(fpath, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{fpath!r} is not a valid JSON file: {error}") from error


def write_json(obj: Any, fpath: str) -> None:
    """Write a JSON file, atomically."""
    with atomic_path(fpath) as path, open(path, "w", encoding="utf-8") as file:
        json.dump(obj, file, indent=4, separators=(",", ": "))


def write_text(text: str, fpath: str) -> None:
    """Write a text file, atomically."""
    with atomic_path(fpath) as path, open(path, "w", encoding="utf-8") as file:
        file.write(text)


# Of an image: phones take photos of 108 megapixels; more than a third of a gigabyte is decoded for none.
MOST_PIXELS = 120_000_000


def read_image(path: str, upright: bool = False) -> Image.Image:
    """Decode an image to RGB.

    Args:
        upright: turn it as its EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a readable image, or has more than `MOST_PIXELS`.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"Image {path!r} is no regular file: remove it")
    try:
        with Image.open(path) as img:
            if img.width * img.height > MOST_PIXELS:
                size = f"{img.width:,} x {img.height:,}"
                raise ValueError(f"{size} pixels are more than {MOST_PIXELS:,}; save it smaller")
            return (ImageOps.exif_transpose(img) if upright else img).convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"No image file at {path!r}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"Image {path!r} cannot be read: {error}") from error


@contextmanager
def atomic_path(fpath: str) -> Iterator[str]:
    """A temporary path in the folder of ``fpath`` (created if missing) that is renamed to it at the end.

    When the block fails, the temporary file is removed and an old ``fpath`` stays as it was.

    Raises:
        OSError: the file could not be written; the message names it and the space left.
    """
    fpath = os.path.abspath(fpath)
    folder, name = os.path.split(fpath)
    mkdir_if_missing(folder)
    # Two runs on the same folder must never meet, and containers repeat process ids.
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, fpath)
    except BaseException as error:
        failure = _write_error(error, fpath, temporary)
        if os.path.exists(temporary):
            os.remove(temporary)
        if failure is not None:
            raise failure from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `atomic_path` in a folder and those in it, whose writers were killed."""
    for path in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _flush(path: str) -> None:
    """Force the content to the disk, so that the rename never comes before it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(error: BaseException, fpath: str, temporary: str) -> OSError | None:
    """A clear error in place of one that means a full disk; None for any other."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    written = os.path.getsize(temporary) if os.path.exists(temporary) else 0
    free = shutil.disk_usage(os.path.dirname(fpath)).free
    return OSError(
        errno.ENOSPC,
        f"No space left to write {fpath!r}: it stopped after {written / 1e6:.2f} MB, with {free / 1e6:.2f} "
        "MB free in its folder; an older version of the file was left as it is",
    )
