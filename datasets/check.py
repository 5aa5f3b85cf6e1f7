"""Is a prepared data set whole? The same checks as at the start of a run, and what takes longer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from dassl.utils import progress, read_image, usable_cores
from dassl.utils.files import MOST_PIXELS
from datasets.benchmark import Counts, FewShotBenchmark, count, in_words
from datasets.near_duplicates import near_duplicates
from datasets.split_file import Split, check_not_empty, first_named

OTHERS = (
    "\nMend or remove them, or use the others: python -m datasets.readable lists them, and so does "
    "python -m experiments fit with --skip-unreadable."
)


@dataclass
class Report:
    """What a check found; no problems mean that the data set is whole. Notes say what else is to be known."""

    name: str
    folder: Path
    counts: Counts | None = None
    published: Counts | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "complete" if not self.problems else "NOT complete"
        lines = [f"{self.name}: {verdict} in {self.folder}"]
        if self.counts:
            lines.append(f"  {in_words(self.counts)}")
        if self.counts and self.published == self.counts:
            lines[-1] += ", as published"
        for problem in self.problems:
            lines += [f"  {line}" for line in problem.splitlines()]
        for note in self.notes:
            lines += [f"  note: {note.splitlines()[0]}", *(f"  {line}" for line in note.splitlines()[1:])]
        return "\n".join(lines)


class NoImages(ValueError):
    """Files are no images, for all their names.

    Attributes:
        paths: all files that are called like images, these among them.
    """

    def __init__(self, message: str, paths: Sequence[str]) -> None:
        super().__init__(message)
        self.paths = paths


def check(cls: type[FewShotBenchmark], folder: Path, deep: bool = False) -> Report:
    """Check a data set's files, counts and images.

    Args:
        cls: the data set.
        folder: where it is.
        deep: decode every image, not only the first of each class.
    """
    report = Report(cls.__name__, folder, published=cls.published)
    try:
        split = cls.load(folder)
    except (OSError, ValueError) as error:
        whole = unreadable(error.paths, deep) if isinstance(error, NoImages) and deep else []
        report.problems.append(_cannot_be_read(whole, cls) if whole else str(error))
        return report
    report.counts = count(split)
    if cls.published and report.counts != cls.published:
        report.problems.append(f"the published data set has {in_words(cls.published)}")
    images = cls.image_root(folder)
    try:
        check_not_empty(split, images)
    except (OSError, ValueError) as error:
        report.problems.append(str(error))
    broken = unreadable(_to_open(split, images, deep), deep)
    if broken:
        report.problems.append(_cannot_be_read(broken, cls))
    if cls.own_images:
        report.notes += cls.remarks(folder)
        if deep and not report.problems:
            report.notes += _alike(split, images)
    return report


def _cannot_be_read(reasons: Sequence[str], cls: type[FewShotBenchmark]) -> str:
    others = OTHERS if cls.own_images else ""
    return f"{len(reasons)} images cannot be read:\n{first_named(reasons)}{others}"


def _to_open(split: Split, images: Path, deep: bool) -> list[str]:
    """All images, or one of each class and part."""
    chosen: dict[object, str] = {}
    for part, items in split.items():
        for item in items:
            chosen.setdefault(item.path if deep else (part, item.label), item.path)
    return [os.path.join(images, path) for path in dict.fromkeys(chosen.values())]


def unreadable(paths: Sequence[str], deep: bool) -> list[str]:
    """The paths that are no images, with the reasons; ``deep`` decodes whole files, not only their heads."""
    return list(broken_images(paths, deep).values())


def broken_images(paths: Sequence[str], deep: bool) -> dict[str, str]:
    """Path -> reason, of those that `unreadable` names."""
    reasons = {}
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool, progress("images", len(paths)) as bar:
        for path, reason in zip(paths, pool.map(_decode if deep else _open, paths), strict=True):
            bar.update()
            if reason:
                reasons[path] = reason
    return reasons


def _alike(split: Split, images: Path) -> list[str]:
    """A note where test images look like training or validation images."""

    def files(*parts: str) -> set[str]:
        return {os.path.normpath(images / item.path) for part in parts for item in split[part]}

    tested = files("test")
    seen = files("train", "val") - tested
    try:
        pairs = near_duplicates(sorted(seen), sorted(tested))
    except ImportError as error:
        return [f"not looked for near-duplicates, since {error.name} is not installed"]
    if not pairs:
        return []
    named = first_named([f"{pair.second}  ~  {pair.first}" for pair in pairs])
    return [
        f"{len(pairs)} of {len(tested)} test images look like one to train or validate on, so that the "
        f"accuracy will be too high:\n{named}\nRemove one of each, or give a list with both in one part."
    ]


def _open(path: str) -> str:
    """Why the head of an image file cannot be read; "" if it can."""
    try:
        with Image.open(path) as image:
            if (pixels := image.width * image.height) > MOST_PIXELS:
                return f"{path}: {pixels:,} pixels are more than {MOST_PIXELS:,}"
            return ""
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return str(error) if path in str(error) else f"{path}: {error}"


def _decode(path: str) -> str:
    """Why an image cannot be decoded; "" if it can."""
    try:
        read_image(path)
        return ""
    except (OSError, ValueError) as error:
        return str(error)
