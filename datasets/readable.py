"""A list of those images of one's own data set that can be read, to be used in its place.

    python -m datasets.readable path/to/images --list images.json

The split is the one that the images have already; class folders that have none are divided as ever.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dassl.utils import write_json
from datasets.check import broken_images
from datasets.folder import Folder, class_groups, kept_split
from datasets.split_file import Split, first_named
from datasets.split_rules import SPLIT_SEED, split_in_three

log = logging.getLogger("datasets.readable")


def readable_split(source: Path) -> tuple[Split, list[str]]:
    """The split of ``source`` without images that cannot be read, and why these cannot.

    Raises:
        FileNotFoundError, ValueError: as `Folder.load`; also where a class has too few images left.
    """
    images = Folder.image_root(source)
    if source.is_dir() and Folder.is_undivided(source) and kept_split(source) is None:
        groups = class_groups(source)
        broken = broken_images([str(images / item.path) for group in groups for item in group], deep=True)
        left = [[item for item in group if str(images / item.path) not in broken] for group in groups]
        for before, after in zip(groups, left, strict=True):
            if not after:
                raise ValueError(f"of class {before[0].classname!r} no image can be read")
        return split_in_three(left, random.Random(SPLIT_SEED)), list(broken.values())
    split = Folder.load(source)
    paths = dict.fromkeys(str(images / item.path) for items in split.values() for item in items)
    broken = broken_images(list(paths), deep=True)
    kept = {part: [i for i in items if str(images / i.path) not in broken] for part, items in split.items()}
    return kept, list(broken.values())


def as_list(split: Split, images: Path) -> dict[str, Any]:
    """The content of a JSON list of images below ``images``, which it names, wherever it will lie.

    Where the validation images are the test images, they are named once, as ``val``.
    """
    parts = {part: items for part, items in split.items() if part != "test" or items != split["val"]}
    rows = [
        {"path": item.path, "class": item.classname, "split": part, "label": item.label}
        for part, items in parts.items()
        for item in items
    ]
    return {"images": str(images), "rows": rows}


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(
        prog="python -m datasets.readable",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="folder of class folders, or a list")
    parser.add_argument("--list", type=Path, required=True, dest="target", help="the .json file to write")
    args = parser.parse_args(argv)
    source = args.source.expanduser().absolute()
    try:
        split, reasons = readable_split(source)
        content = as_list(split, Folder.image_root(source))
        write_json(content, str(args.target))
    except (OSError, ValueError) as error:
        log.error("error: %s", error)
        return 1
    for remark in Folder.remarks(source):
        log.warning("note: %s", remark)
    if reasons:
        log.warning("%d images cannot be read and are left out:\n%s", len(reasons), first_named(reasons))
    log.info("%s names the %d others", args.target, len(content["rows"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
