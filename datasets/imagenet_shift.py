"""What the shifted ImageNets share: images of ImageNet's classes, for testing only."""

from __future__ import annotations

from pathlib import Path

from datasets.benchmark import FewShotBenchmark
from datasets.class_folders import check_folders, check_named, list_images, subfolders
from datasets.fetch.sources import IMAGENET_CLASSNAMES
from datasets.lists import read_classnames
from datasets.split_file import Split

CLASSNAMES = IMAGENET_CLASSNAMES
_SUBSET = 200  # classes of those that have not all 1,000


class ImageNetShift(FewShotBenchmark):
    """Folders named like ImageNet's classes; labels follow their sorted names.

    As upstream has it, ``DATASET.NUM_SHOTS`` and ``DATASET.SUBSAMPLE_CLASSES`` change nothing: the test
    images stand in for training images, and all classes are tested.
    """

    lists = ("classnames.txt",)
    example = "n01440764/"
    test_only = True
    has_halves = False
    whole = True  # has all classes of classnames.txt, not 200 of them

    @classmethod
    def read(cls, folder: Path) -> Split:
        images, names_file = cls.image_root(folder), folder / "classnames.txt"
        classes = cls.classes(subfolders(images), read_classnames(names_file), images, names_file)
        test = list_images(images, classes)
        return {"train": test, "val": [], "test": test}

    @classmethod
    def classes(cls, found: list[str], names: dict[str, str], images: Path, source: Path) -> dict[str, str]:
        """Folder -> class name, in the order of the labels.

        Raises:
            FileNotFoundError: class folders are missing.
            ValueError: class folders without a name.
        """
        if cls.whole:
            check_folders(images, found, names, source)
        check_named(images, found, names, source)
        if not cls.whole and len(found) != _SUBSET:
            raise FileNotFoundError(
                f"{images} has {len(found)} class folders, {cls.__name__} has {_SUBSET}; unpack it again"
            )
        return {wnid: names[wnid] for wnid in found}
