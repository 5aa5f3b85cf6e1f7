"""The few-shot benchmark of all data sets: upstream's splits, its few-shot selection, base and new classes.

A data set is a subclass that names its folders, its split file and where to get them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from dassl.data.datasets import DatasetBase, Datum
from datasets.split_file import Item, Split, check_images, read_split, write_json

log = logging.getLogger(__name__)

SUBSETS = ("all", "base", "new")
_VAL_SHOTS = 4  # at most so many validation images a class go with a few-shot training set
_LISTED = 8  # entries of a folder shown in an error message


class FewShotBenchmark(DatasetBase):
    """A data set read from upstream's split file.

    Settings: ``DATASET.ROOT``, ``DATASET.NUM_SHOTS`` (below 1: the whole split),
    ``DATASET.SUBSAMPLE_CLASSES`` (all | base | new) and ``SEED``, which picks the few-shot images (below 0:
    a new selection each time).

    Attributes:
        train_x, val, test: as in Dassl.
        train_full: all training images of the selected classes, labelled like ``train_x``.

    Raises:
        FileNotFoundError: the data, the split file or some of its images are missing.
        ValueError: a wrong setting or a broken split file.
    """

    dataset_dir: str = ""  # under DATASET.ROOT
    image_dir: str = ""  # under dataset_dir; paths in the split file are relative to it
    split_file: str = ""  # under dataset_dir
    example: ClassVar[str] = ""  # one image's path under image_dir, to show the expected tree
    images_from: ClassVar[str] = ""
    split_from: ClassVar[str] = ""

    def __init__(self, cfg: Any) -> None:
        subset, shots, seed = cfg.DATASET.SUBSAMPLE_CLASSES, cfg.DATASET.NUM_SHOTS, cfg.SEED
        if subset not in SUBSETS:
            raise ValueError(
                f"DATASET.SUBSAMPLE_CLASSES is {subset!r}; it must be one of {', '.join(SUBSETS)}"
            )
        folder = Path(cfg.DATASET.ROOT).expanduser().absolute() / self.dataset_dir
        self.prepare(folder)
        images, split_path = folder / self.image_dir, folder / self.split_file
        self._check_present(folder, images, split_path)
        split = read_split(split_path)
        check_images(split, images, split_path)

        selected = dict(split)
        if shots >= 1:
            selected["train"], selected["val"] = select_few_shot(split["train"], split["val"], shots, seed)
            if seed >= 0:
                _record_selection(selected, split_path, shots, seed)
        relabelled = subsample_classes({**selected, "full": split["train"]}, subset)
        parts = {
            name: [Datum(os.path.join(images, i.path), i.label, classname=i.classname) for i in items]
            for name, items in relabelled.items()
        }
        self.dataset_dir, self.image_dir, self.split_file = str(folder), str(images), str(split_path)
        self.train_full: list[Datum] = parts["full"]
        super().__init__(train_x=parts["train"], val=parts["val"], test=parts["test"])

    def prepare(self, folder: Path) -> None:
        """Make the data set in ``folder`` if it can be made; data sets that are downloaded do nothing."""

    def _check_present(self, folder: Path, images: Path, split_path: Path) -> None:
        """One screen about what is missing, where it comes from and where it goes."""
        missing = [path for path in (images, split_path) if not path.exists()]
        if not missing:
            return
        root = folder.parent
        found = _describe(folder) + ("" if folder.is_dir() else f"; {root} {_describe(root)}")
        lines = [
            f"data set {type(self).__name__} is not complete under DATASET.ROOT (--root) {root}",
            *(f"  missing:    {path}" for path in missing),
            f"  found:      {folder} {found}",
            "  expected:",
            f"    {images}/{self.example}  (and so on)",
            f"    {split_path}",
            f"  images:     {self.images_from}",
            f"              unpack them so that {images}/{self.example} exists",
            f"  split file: {self.split_from}",
            f"              put it at {split_path}",
        ]
        raise FileNotFoundError("\n".join(lines))


def select_few_shot(
    train: Sequence[Item], val: Sequence[Item], shots: int, seed: int
) -> tuple[list[Item], list[Item]]:
    """``shots`` training and min(shots, 4) validation items a class: the ones that upstream selects.

    Both draws come from one stream of Python's generator, training first, classes in the order in which
    they appear. A class with too few items gives all of them, in split order. A seed below 0 draws anew
    each time.
    """
    rng = random.Random(seed) if seed >= 0 else random.Random()
    return _draw(train, shots, rng), _draw(val, min(shots, _VAL_SHOTS), rng)


def _draw(items: Sequence[Item], shots: int, rng: random.Random) -> list[Item]:
    by_label: dict[int, list[Item]] = {}
    for item in items:
        by_label.setdefault(item.label, []).append(item)
    drawn: list[Item] = []
    for group in by_label.values():
        drawn.extend(rng.sample(group, shots) if len(group) >= shots else group)
    return drawn


def subsample_classes(split: Split, subset: str) -> Split:
    """Keep ``all`` classes, ``base`` (the first ceil(n/2) labels) or ``new`` (the rest), labelled from 0."""
    labels = sorted({item.label for items in split.values() for item in items})
    half = (len(labels) + 1) // 2
    kept = {"all": labels, "base": labels[:half], "new": labels[half:]}[subset]
    renamed = {label: new for new, label in enumerate(kept)}
    return {
        part: [item._replace(label=renamed[item.label]) for item in items if item.label in renamed]
        for part, items in split.items()
    }


def _record_selection(selected: Split, split_path: Path, shots: int, seed: int) -> None:
    """Keep the selection as JSON beside the data, in the user's cache where the data is read-only."""
    checksum = hashlib.sha256(split_path.read_bytes()).hexdigest()
    content = {"split_sha256": checksum, "train": selected["train"], "val": selected["val"]}
    name = Path("split_fewshot") / f"shot_{shots}-seed_{seed}.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpc"
    for folder in (split_path.parent, cache / split_path.parent.name):
        path = folder / name
        try:
            if not _same_json(path, content):
                write_json(content, path)
            return
        except OSError as error:
            log.debug("the few-shot selection cannot be kept at %s: %s", path, error)
    log.warning("the few-shot selection is kept nowhere: %s and %s are read-only", split_path.parent, cache)


def _same_json(path: Path, content: object) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(content))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return False


def _describe(folder: Path) -> str:
    return f"holds {_listing(folder)}" if folder.is_dir() else "does not exist"


def _listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "nothing") + more
