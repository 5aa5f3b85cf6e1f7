"""The few-shot benchmark of all data sets: upstream's splits, its few-shot selection, base and new classes.

A data set is a subclass that names its folders, its split file and where to get them.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from dassl.config import CfgNode as CN
from dassl.data.datasets import DatasetBase, Datum, check_subset, chosen_subset
from datasets.fetch.sources import Source
from datasets.few_shot import few_shot, subsample_classes
from datasets.missing import is_there, missing_message
from datasets.split_file import PARTS, Item, Split, check_images, check_not_empty, read_split
from datasets.split_rules import class_folders, split_in_three

log = logging.getLogger(__name__)


class Counts(NamedTuple):
    """Classes and images of a data set."""

    classes: int
    train: int
    val: int
    test: int


class FewShotBenchmark(DatasetBase):
    """A data set read from upstream's split file.

    Settings: ``DATASET.ROOT``, ``DATASET.NUM_SHOTS`` (below 1: the whole split),
    ``DATASET.SUBSAMPLE_CLASSES`` (all | base | new) and ``SEED``, which picks the few-shot images (below 0:
    a new selection each time).

    Attributes:
        train_x, val, test: as in Dassl.
        train_full: all training images of the selected classes, labelled like ``train_x``.
        val_full: all their validation images.

    Raises:
        FileNotFoundError: the data, the split file or some of its images are missing.
        ValueError: a wrong setting, a broken split file or an empty image.
    """

    OPTIONS: ClassVar[CN] = CN()  # settings of its own, below DATASET

    dataset_dir: str = ""  # under DATASET.ROOT
    image_dir: str = ""  # under dataset_dir; paths in the split file are relative to it
    split_file: str = ""  # under dataset_dir; "": none, the split comes from folders or lists
    lists: ClassVar[tuple[str, ...]] = ()  # other files and folders that must be under dataset_dir
    example: ClassVar[str] = ""  # one image's path under image_dir, to show the expected tree
    published: ClassVar[Counts | None] = None
    sources: ClassVar[tuple[Source, ...]] = ()
    mirror: ClassVar[str] = ""  # archive on the mirror of the benchmark that has all that is needed
    origin: ClassVar[str] = ""  # where to get what no source has

    ignored: ClassVar[tuple[str, ...]] = ()  # folders in image_dir that are no classes
    renamed: ClassVar[Mapping[str, str]] = {}  # folder -> class name, where they differ
    val_is_test: ClassVar[bool] = False  # the test images validate too, and are not drawn from
    own_images: ClassVar[bool] = False  # the user's own, which nobody has looked through before
    test_only: ClassVar[bool] = False  # no training images: the test images stand in for them

    def __init__(self, cfg: Any) -> None:
        subset, shots, seed = cfg.DATASET.SUBSAMPLE_CLASSES, cfg.DATASET.NUM_SHOTS, cfg.SEED
        check_subset(subset)
        if (chosen := chosen_subset(cfg, self)) != subset:
            message = "DATASET.SUBSAMPLE_CLASSES %s has no effect on %s, which is not divided: all classes"
            log.warning(message, subset, type(self).__name__)
        folder = self.locate(cfg)
        self.make(folder)
        split = self.load(folder)
        self._warn_of_other_counts(split)

        selected = dict(split)
        if shots >= 1 and not self.test_only:
            selected.update(few_shot(split, shots, seed, self.home(folder)))
            if self.val_is_test:
                selected["val"] = split["test"]
        images = self.image_root(folder)
        check_not_empty({part: selected[part] for part in PARTS if part != "train" or shots >= 1}, images)
        whole = {"full": split["train"], "val_full": split["val"]}
        relabelled = subsample_classes({**selected, **whole}, chosen)
        if not any(relabelled.values()):
            raise ValueError(
                f"DATASET.SUBSAMPLE_CLASSES is {subset!r}, but data set {type(self).__name__} has a single "
                "class, which is a base class; use 'all' or 'base'"
            )
        self._full, self._val_full = relabelled.pop("full"), relabelled.pop("val_full")
        self._images = images
        self._train_full: list[Datum] | None = None
        self.dataset_dir, self.image_dir = str(folder), str(images)
        self.split_file = str(folder / self.split_file) if self.split_file else ""
        parts = {name: self._data(items) for name, items in relabelled.items()}
        super().__init__(train_x=parts["train"], val=parts["val"], test=parts["test"])

    @property
    def train_full(self) -> list[Datum]:
        """All training images of the selected classes, labelled like ``train_x``."""
        if self._train_full is None:
            self._train_full = self._data(self._full)
        return self._train_full

    @property
    def val_full(self) -> list[Datum]:
        """All validation images of the selected classes, labelled like ``train_x``."""
        return self._data(self._val_full)

    def _data(self, items: list[Item]) -> list[Datum]:
        return [Datum(os.path.join(self._images, i.path), i.label, classname=i.classname) for i in items]

    # ---- where things are ----------------------------------------------------------------------------------

    @classmethod
    def locate(cls, cfg: Any) -> Path:
        """The data set's folder, from the settings of a run."""
        return cls.folder_in(Path(cfg.DATASET.ROOT).expanduser().absolute())

    @classmethod
    def folder_in(cls, root: Path) -> Path:
        """The data set's folder under ``root``, or ``root`` where that is it already."""
        folder = root / cls.dataset_dir
        return root if root.name == cls.dataset_dir and root.is_dir() and not folder.is_dir() else folder

    @classmethod
    def image_root(cls, folder: Path) -> Path:
        """What the paths of items are relative to."""
        return folder / cls.image_dir

    @classmethod
    def home(cls, folder: Path) -> Path:
        """Where what is computed from the data set is kept."""
        return folder

    @classmethod
    def class_key(cls, path: str) -> str:
        """What in an image's path tells its class: images that share it must have the same label."""
        return os.path.dirname(path)

    @classmethod
    def make(cls, folder: Path) -> None:
        """Make the data set in ``folder`` if it can be made; data sets that are downloaded do nothing."""

    @classmethod
    def remarks(cls, folder: Path) -> list[str]:
        """What a user should know of the folder beside what is wrong with it."""
        return []

    # ---- what is there -------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path) -> Split:
        """All items, of images that are there.

        Raises:
            FileNotFoundError, ValueError: see the class.
        """
        needed = cls.needed(folder)
        missing = [path for path in needed if not is_there(path)]
        if missing:
            expected = [folder / cls.image_dir / cls.example, *needed[1 if cls.image_dir else 0 :]]
            raise FileNotFoundError(
                missing_message(cls.__name__, folder, missing, expected, cls.sources, cls.origin)
            )
        return cls.read(folder)

    @classmethod
    def needed(cls, folder: Path) -> list[Path]:
        """The files and folders that the data set is read from."""
        return [folder / name for name in (cls.image_dir, *cls.lists, cls.split_file) if name]

    @classmethod
    def read(cls, folder: Path) -> Split:
        """As `load`, of a folder that has all its files."""
        path = folder / cls.split_file
        split = read_split(path, cls.class_key)
        check_images(split, cls.image_root(folder), path)
        return split

    @classmethod
    def make_split(cls, folder: Path, rng: random.Random) -> Split:
        """A split by the rule that upstream made its split file by; here, the rule for folders of classes.

        Raises:
            FileNotFoundError, ValueError: the images or the lists that this needs are missing or broken.
        """
        groups = class_folders(cls.image_root(folder), cls.ignored, cls.renamed)
        return split_in_three(groups, rng)

    def _warn_of_other_counts(self, split: Split) -> None:
        if self.published and (counts := count(split)) != self.published:
            log.warning(
                "data set %s has %s, the published one %s: figures cannot be compared with published ones",
                type(self).__name__, in_words(counts), in_words(self.published),
            )  # fmt: skip


def count(split: Split) -> Counts:
    """Classes and images of a split; test images that stand in for training images count once."""
    classes = len({item.label for items in split.values() for item in items})
    train = 0 if split["train"] is split["test"] else len(split["train"])
    return Counts(classes, train, len(split["val"]), len(split["test"]))


def in_words(counts: Counts) -> str:
    """For people."""
    classes, train, val, test = (f"{n:,}" for n in counts)
    if not counts.train and not counts.val:
        return f"{classes} classes, {test} test images"
    return f"{classes} classes, {train} train, {val} val and {test} test images"
