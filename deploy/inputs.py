"""Image files of the words of a command line, and their pixels."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from dassl.utils import read_image, usable_cores

Transform = Callable[[Image.Image], Tensor]
MOST_THREADS = 8  # decoded at a time: photos are large


class Batch(NamedTuple):
    """Images that could be read, and why others could not."""

    paths: list[str]
    pixels: Tensor  # [B, 3, H, W]; [0] where none could be read
    reasons: list[str]


def find_images(words: Sequence[str], lines: Iterable[str] = ()) -> list[str]:
    """Each image once, in the order of the words: files, folders, patterns, and "-" for ``lines``.

    A folder stands for all images in it and below, by name. A file that only ``lines`` name need not exist:
    it is met again when it is to be read.

    Raises:
        FileNotFoundError: a word leads to no file.
        ValueError: there is nothing among ``lines``.
    """
    found: dict[str, None] = {}
    for word in words:
        if word == "-":
            listed = [line.rstrip("\r\n") for line in lines if line.strip()]
            if not listed:
                raise ValueError("the list - (standard input) names no image; give a path a line")
            found |= dict.fromkeys(listed)
        else:
            found |= dict.fromkeys(_images_of(word))
    return list(found)


def _images_of(word: str) -> list[str]:
    if os.path.isdir(word):
        if images := sorted(_images_below(word)):
            return images
        raise FileNotFoundError(f"folder {word!r} holds no images")
    if os.path.exists(word):
        return [word]
    if glob.has_magic(word):
        files = sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path))
        if files:
            return files
        raise FileNotFoundError(f"no file matches {word!r}")
    raise FileNotFoundError(f"No image file at {word!r}")


def _images_below(folder: str) -> Iterator[str]:
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if Path(name).suffix.lower() in endings and not name.startswith("."):
                yield os.path.join(place, name)


def batches(paths: Sequence[str], transform: Transform, upright: bool, size: int) -> Iterator[Batch]:
    """The images in order, ``size`` at a time; while one batch is used, the next one is read.

    Args:
        transform: RGB image -> [3, H, W].
        upright: turn photos as their EXIF orientation says.
    """

    def read(path: str) -> Tensor | str:
        try:
            return transform(read_image(path, upright))
        except (OSError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor(min(usable_cores(), MOST_THREADS)) as pool:
        parts = [paths[start : start + size] for start in range(0, len(paths), size)]
        waiting = [pool.submit(read, path) for path in parts[0]] if parts else []
        for number, part in enumerate(parts, 1):
            current = [future.result() for future in waiting]
            waiting = [pool.submit(read, path) for path in parts[number]] if number < len(parts) else []
            read_ones = zip(part, current, strict=True)
            good = [(path, item) for path, item in read_ones if isinstance(item, Tensor)]
            pixels = torch.stack([item for _, item in good]) if good else torch.empty(0)
            reasons = [item for item in current if isinstance(item, str)]
            yield Batch([path for path, _ in good], pixels, reasons)
