"""Any data set of one's own: a folder of class folders, or a CSV or JSON list. See docs/datasets.md."""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from dassl.config import CfgNode as CN
from dassl.config.rules import text
from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import FewShotBenchmark
from datasets.check import OTHERS, NoImages, unreadable
from datasets.class_folders import check_folders, subfolders
from datasets.few_shot import cache_folder, keep_json
from datasets.folder_names import read_folder_names
from datasets.own_lists import complete, images_of, read_list
from datasets.split_file import PARTS, Item, Split, check_images, check_split, first_named, read_split
from datasets.split_rules import SPLIT_SEED, by_label, split_in_three

log = logging.getLogger(__name__)

_OURS = ("split_fewshot",)  # folders that this program makes beside the class folders
_SPLIT = "split.json"
_LIKE_PARTS = {*PARTS, "training", "valid", "validation", "dev", "eval", "testing"}  # what people call them


@DATASET_REGISTRY.register()
class Folder(FewShotBenchmark):
    """The data set at ``DATASET.DIR``.

    * A folder of class folders: split at random into 50% train, 20% val and 30% test, once; the split is
      kept in ``split.json``.
    * ``train/``, ``val/`` and ``test/`` of class folders: without ``val/``, 20% of ``train/`` validate;
      without ``test/``, ``val/`` is both.
    * A ``.csv`` or ``.json`` list of images.

    Raises:
        FileNotFoundError, ValueError: what is there is none of these, or not whole.
    """

    own_images = True
    # Folder of class folders, or a .csv or .json list of images.
    OPTIONS = CN({"DIR": ""})
    ALLOWED = {"DIR": text()}

    @property
    def name(self) -> str:
        """That of the folder, or of the list without its ending."""
        path = Path(os.path.abspath(self.dataset_dir))
        return path.name if path.is_dir() else path.stem

    @classmethod
    def locate(cls, cfg: Any) -> Path:
        if not cfg.DATASET.DIR:
            raise ValueError(
                "DATASET.DIR is empty; data set Folder needs the path of a folder of class folders, "
                "or of a .csv or .json list of images"
            )
        return cls.folder_in(Path(cfg.DATASET.DIR).expanduser().absolute())

    @classmethod
    def folder_in(cls, root: Path) -> Path:
        return root

    @classmethod
    def image_root(cls, folder: Path) -> Path:
        return folder if folder.is_dir() else images_of(folder)

    @classmethod
    def home(cls, folder: Path) -> Path:
        return folder if folder.is_dir() else folder.parent

    @classmethod
    def is_undivided(cls, folder: Path) -> bool:
        """Whether it is a folder of class folders, rather than one of train/, val/ and test/."""
        return not _has_parts(folder)

    @classmethod
    def remarks(cls, folder: Path) -> list[str]:
        return passed_over(folder) if folder.is_dir() else []

    @classmethod
    def load(cls, folder: Path) -> Split:
        if not folder.exists():
            raise FileNotFoundError(f"DATASET.DIR is {folder}, and there is nothing")
        if not folder.is_dir():
            split = read_list(folder)
            check_images(split, cls.image_root(folder), folder)
        elif _has_parts(folder):
            split = _read_parts(folder)
        else:
            split = _read_classes(folder)
        _check_several({item.classname for item in split["train"]}, folder)
        return split


def _check_several(classes: Collection[str], folder: Path) -> None:
    """Raise a ``ValueError`` when there is nothing to tell apart."""
    if len(classes) < 2:
        raise ValueError(
            f"DATASET.DIR is {folder}, which has only the class {', '.join(classes)}; at least 2 are needed. "
            f"Give the folder that holds the class folders, or a list of images of several classes."
            f"{suggested(folder)}"
        )


def _has_parts(folder: Path) -> bool:
    """Whether there are train/ and its like in place of class folders.

    Raises:
        ValueError: there are, but under other names.
    """
    names = [name for name in subfolders(folder) if name not in _OURS]
    if "train" in names and set(names) <= set(PARTS):
        return True
    if len(names) > 1 and {name.lower() for name in names} <= _LIKE_PARTS:
        raise ValueError(
            f"DATASET.DIR is {folder}, with the folders {', '.join(names)}; "
            "a data set that is split already must call them train, val and test"
        )
    return False


def _read_parts(folder: Path) -> Split:
    """``train/``, ``val/`` and ``test/``, as far as they are there."""
    parts = [part for part in PARTS if (folder / part).is_dir()]
    classes = subfolders(folder / "train")
    for part in parts[1:]:
        check_folders(folder / part, subfolders(folder / part), classes, folder / "train")
    names = read_folder_names(folder, classes)
    split: Split = {part: [] for part in PARTS}
    seen: set[str] = set()
    for part in parts:
        images = (_images(folder, f"{part}/{name}", names[name], seen) for name in classes)
        split[part] = [item for group in images for item in group]
    check_split(split, folder, os.path.dirname)
    return complete(split, folder)


def class_groups(folder: Path) -> list[list[Item]]:
    """The images of each class in a folder of class folders, by label.

    Raises:
        FileNotFoundError: there are no class folders, or one has no images.
        ValueError: there is one class alone.
    """
    classes = [name for name in subfolders(folder) if name not in _OURS]
    if not classes:
        raise FileNotFoundError(
            f"DATASET.DIR is {folder}, which has no folders; it must hold one folder of images a class, "
            "or train/, val/ and test/ with such folders"
        )
    _check_several(classes, folder)
    names = read_folder_names(folder, classes)
    _check_several({name for _, name in names.values()}, folder)
    seen: set[str] = set()
    try:
        items = [item for name in classes for item in _images(folder, name, names[name], seen)]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{suggested(folder)}") from None
    return by_label(items)


def kept_split(folder: Path) -> Path | None:
    """The file of the split that was made of a folder of class folders; None where there is none yet."""
    return next((p for p in (folder / _SPLIT, cache_folder(folder) / _SPLIT) if p.is_file()), None)


def _read_classes(folder: Path) -> Split:
    """Class folders, by the split that was made of them first."""
    groups = class_groups(folder)
    kept = kept_split(folder)
    if kept is None:
        # nothing is kept that would have to be made again once they are removed
        paths = [str(folder / item.path) for group in groups for item in group]
        if broken := unreadable(paths, deep=False):
            raise NoImages(
                f"{len(broken)} files are no images, for all their names:\n{first_named(broken)}{OTHERS}",
                paths,
            )
        split = split_in_three(groups, random.Random(SPLIT_SEED))
        check_split(split, folder, _class_folder)
        keep_json(split, folder, Path(_SPLIT))
        return split
    return _as_now(read_split(kept, _class_folder), kept, {item for group in groups for item in group})


def _as_now(split: Split, kept: Path, present: set[Item]) -> Split:
    """A kept split under today's class names.

    Raises:
        FileNotFoundError: images that it names are gone.
        ValueError: the class folders have changed since.
    """
    now = {_class_folder(item.path): item for item in present}
    then = {_class_folder(item.path) for items in split.values() for item in items}
    remedy = f"delete {kept} to have it made again"
    if changed := ", ".join(sorted(then ^ now.keys())):
        raise ValueError(f"the class folders have changed since {kept} was made: {changed}; {remedy}")
    listed = {item.path for items in split.values() for item in items}
    there = {item.path for item in present}
    if gone := sorted(listed - there):
        raise FileNotFoundError(
            f"{len(gone)} of the images named in {kept} are missing:\n{first_named(gone)}\n"
            f"Put them back, or {remedy}."
        )
    if more := len(there - listed):
        log.warning("%d images are not in %s and not used; %s", more, kept, remedy)
    return {
        part: [now[_class_folder(item.path)]._replace(path=item.path) for item in items]
        for part, items in split.items()
    }


def _class_folder(path: str) -> str:
    return path.partition("/")[0]


def _files(folder: Path, seen: set[str]) -> Iterator[str]:
    """The files in a folder and those below it that are not hidden, of folders that links lead to, too.

    Args:
        seen: folders that have been read already; those of this one are added.

    Raises:
        ValueError: links lead to a folder twice, or around it, or a file is none, such as a pipe.
    """
    around = os.path.realpath(folder.parent)
    if (target := os.path.realpath(folder)) in seen:
        raise ValueError(f"{folder} leads to {target}, whose images are there already: remove the link")
    seen.add(target)
    for place, folders, files in os.walk(folder, followlinks=True):
        for target in (os.path.realpath(place), *(os.path.realpath(os.path.join(place, f)) for f in folders)):
            if os.path.commonpath([target, around]) == target:
                raise ValueError(f"{place} has a link to {target}, which is around it: remove the link")
        for name in folders:
            path = os.path.join(place, name)
            if (target := os.path.realpath(path)) in seen:
                raise ValueError(f"{path} leads to {target}, whose images are there already: remove the link")
            seen.add(target)
        for path in (os.path.join(place, name) for name in files if not name.startswith(".")):
            if os.path.exists(path) and not os.path.isfile(path):
                raise ValueError(f"{path} is no regular file but a pipe, socket or device: remove it")
            yield path


def _images(folder: Path, name: str, named: tuple[int, str], seen: set[str]) -> list[Item]:
    """The images in a class folder and in the folders below it.

    Raises:
        FileNotFoundError: there are none.
    """
    label, classname = named
    endings = _endings()
    paths = sorted(
        os.path.relpath(file, folder).replace(os.sep, "/")
        for file in _files(folder / name, seen)
        if os.path.splitext(file)[1].lower() in endings
    )
    if not paths:
        raise FileNotFoundError(f"class folder {folder / name} has no images")
    return [Item(path, label, classname) for path in paths]


def _endings() -> set[str]:
    """Of the files that Pillow can read."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def passed_over(folder: Path) -> list[str]:
    """A note on the files in the folders that are not called like images."""
    endings, seen = _endings(), set[str]()
    files = (file for name in subfolders(folder) if name not in _OURS for file in _files(folder / name, seen))
    others = Counter(os.path.splitext(file)[1].lower() for file in files)
    left = {ending or "no ending": count for ending, count in others.items() if ending not in endings}
    if not left:
        return []
    counts = ", ".join(f"{count} with {ending}" for ending, count in sorted(left.items()))
    remedy = "; save .heic photos as .jpg to use them" if {".heic", ".heif"} & left.keys() else ""
    return [f"{sum(left.values())} files are not called like images and are passed over: {counts}{remedy}"]


def suggested(folder: Path) -> str:
    """ " Did you mean ...?", where one folder in ``folder`` holds class folders; else ""."""
    if not folder.is_dir():
        return ""
    inner = [folder / name for name in subfolders(folder) if name not in _OURS]
    fitting = [path for path in inner if len(subfolders(path)) > 1]
    return f" Did you mean {fitting[0]}?" if len(fitting) == 1 else ""
