"""Few-shot selection and the division into base and new classes: the ones that upstream makes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path

from dassl.data.datasets import subset_labels
from dassl.utils import user_cache, write_json
from datasets.pickles import read_pickled
from datasets.split_file import Item, Split

log = logging.getLogger(__name__)

_VAL_SHOTS = 4  # at most so many validation images a class go with a few-shot training set


def few_shot(split: Split, shots: int, seed: int, folder: Path) -> Split:
    """The few-shot training and validation items that belong to a seed.

    They come from upstream's ``split_fewshot/shot_<shots>-seed_<seed>.pkl`` in ``folder`` where that file
    is, else they are drawn and kept beside it as JSON (in the user's cache where ``folder`` is read-only).

    Raises:
        ValueError: upstream's file is broken, or belongs to another split.
    """
    name = f"shot_{shots}-seed_{seed}"
    pickled = folder / "split_fewshot" / f"{name}.pkl"
    if seed >= 0 and pickled.is_file():
        stored = read_pickled(pickled, {"train": split["train"], "val": split["val"]})
        return {"train": stored["train"], "val": stored.get("val", split["val"])}
    train, val = select_few_shot(split["train"], split["val"], shots, seed)
    selected = {"train": train, "val": val}
    if seed >= 0:
        keep_json(selected, folder, Path("split_fewshot") / f"{name}.json")
    return selected


def select_few_shot(
    train: Sequence[Item], val: Sequence[Item], shots: int, seed: int
) -> tuple[list[Item], list[Item]]:
    """``shots`` training and min(shots, 4) validation items a class: the ones that upstream selects.

    Both draws come from one stream of Python's generator, training first, classes in the order in which
    they appear. A class with too few items gives all of them, in split order. A seed below 0 draws anew
    each time, from Python's global random numbers, which the processes of a run share.
    """
    rng = random.Random(seed if seed >= 0 else random.getrandbits(64))
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
    renamed = {labels[old]: new for new, old in enumerate(subset_labels(subset, len(labels)))}
    return {
        part: [item._replace(label=renamed[item.label]) for item in items if item.label in renamed]
        for part, items in split.items()
    }


def keep_json(content: Split, folder: Path, name: Path) -> Path | None:
    """Keep a split as JSON in ``folder``, or in the user's cache where ``folder`` is read-only.

    Returns:
        Where it is kept; None where nothing can be written.
    """
    places = (cache_folder(folder),) if meant_to_stay(folder) else (folder, cache_folder(folder))
    for place in places:
        path = place / name
        try:
            if not _same_json(path, content):
                write_json(content, str(path))
            return path
        except OSError as error:
            log.debug("a split cannot be kept at %s: %s", path, error)
    log.warning("the split %s is kept nowhere: %s and %s are read-only", name, folder, cache_folder(folder))
    return None


def meant_to_stay(folder: Path) -> bool:
    """Whether a folder has no write permission at all: it stays as it is, also where root could write."""
    return not folder.stat().st_mode & 0o222


def cache_folder(folder: Path) -> Path:
    """The place in the user's cache for what belongs into the read-only ``folder``."""
    return user_cache() / f"{folder.name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"


def _same_json(path: Path, content: Split) -> bool:
    if not path.is_file():  # nothing, or a pipe that nobody writes to
        return False
    try:
        return json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(content))
    except (ValueError, RecursionError):
        return False
