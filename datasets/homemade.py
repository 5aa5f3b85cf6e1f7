"""Data sets that are made on this machine the first time they are used."""

from __future__ import annotations

import os
import random
import shutil
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from dassl.utils import write_json
from datasets.benchmark import FewShotBenchmark
from datasets.split_file import PARTS


class HomemadeBenchmark(FewShotBenchmark):
    """A benchmark whose images are drawn or converted instead of downloaded."""

    image_dir = "images"
    origin = "made by this program on first use: delete the folder to have it made again"

    @staticmethod
    @abstractmethod
    def images() -> Iterator[tuple[str, int, str, Image.Image]]:
        """All images as (part, label, class name, image), part being train, val or test."""

    @classmethod
    def make(cls, folder: Path) -> None:
        if not folder.exists():
            make_once(folder, cls._write)

    @classmethod
    def _write(cls, folder: Path) -> None:
        split: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
        for number, (part, label, classname, image) in enumerate(cls.images()):
            path = Path(f"{label:02d}") / f"{number:05d}.png"
            (folder / cls.image_dir / path).parent.mkdir(parents=True, exist_ok=True)
            image.save(folder / cls.image_dir / path)
            split[part].append((path.as_posix(), label, classname))
        write_json(split, str(folder / cls.split_file))


def make_once(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill ``folder``, which appears complete or not at all, with rival processes too.

    Raises:
        OSError: the parent folder cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        temporary.mkdir()
    except OSError as error:
        raise type(error)(
            f"{folder} is to be made, but DATASET.ROOT (--root) cannot be written to: {error}"
        ) from error
    try:
        write(temporary)
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, and its folder is as good
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def assign_parts(count: int, shares: dict[str, int], rng: random.Random) -> list[str]:
    """A shuffled list of ``count`` parts: so many of each as ``shares`` says, the rest "test"."""
    parts = [part for part, share in shares.items() for _ in range(share)]
    parts += ["test"] * (count - len(parts))
    rng.shuffle(parts)
    return parts
