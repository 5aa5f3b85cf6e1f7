"""Files and folders. A file is written under a temporary name and then renamed: nobody ever reads half."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image


def mkdir_if_missing(dirname: str) -> None:
    """Create a folder and its parents."""
    os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Whether ``fpath`` is a file."""
    return os.path.isfile(fpath)


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


def read_image(path: str) -> Image.Image:
    """Decode an image to RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a readable image.
    """
    try:
        with Image.open(path) as img:
            return img.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"No image file at {path!r}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"Image {path!r} cannot be read: {error}") from error


@contextmanager
def atomic_path(fpath: str) -> Iterator[str]:
    """A temporary path in the folder of ``fpath`` (created if missing) that is renamed to it at the end.

    When the block fails, the temporary file is removed and an old ``fpath`` stays as it was.

    Raises:
        OSError: the file could not be written; on a full disk the message names it and the space left.
    """
    fpath = os.path.abspath(fpath)
    folder, name = os.path.split(fpath)
    mkdir_if_missing(folder)
    # The process id keeps two runs on the same folder apart.
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, fpath)
    except BaseException as error:
        if os.path.exists(temporary):
            size = os.path.getsize(temporary)
            os.remove(temporary)
            if _disk_is_full(error):
                raise _full_disk_error(fpath, size) from error
        elif _disk_is_full(error):
            raise _full_disk_error(fpath, 0) from error
        raise


def _flush(path: str) -> None:
    """Force the content to the disk, so that the rename never comes before it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_is_full(error: BaseException) -> bool:
    # torch.save reports a failed write as a RuntimeError of its zip writer, without the system's error code.
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, RuntimeError) and "PytorchStreamWriter" in str(error)


def _full_disk_error(fpath: str, written: int) -> OSError:
    free = shutil.disk_usage(os.path.dirname(fpath)).free
    message = (
        f"No space left to write {fpath!r}: stopped after {written / 1e6:.1f} MB, {free / 1e6:.1f} MB "
        "are free in its folder; an older version of the file was left as it is"
    )
    return OSError(errno.ENOSPC, message)
