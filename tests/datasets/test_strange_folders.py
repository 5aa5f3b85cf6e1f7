"""Folders and lists of anybody: pipes, links in circles, names that no prompt can hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import train
from dassl.utils import read_image
from dassl.utils.files import MOST_PIXELS
from datasets.folder import Folder
from datasets.split_file import Item, check_split


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for label in range(3):
        (tmp_path / f"class {label}").mkdir()
        for number in range(6):
            Image.new("RGB", (8, 8), (label * 80, number, 0)).save(tmp_path / f"class {label}/{number}.png")
    return tmp_path


def load(path: Path) -> Folder:
    cfg = train.default_cfg()
    cfg.merge_from_list(
        ["DATASET.NAME", "Folder", "DATASET.DIR", str(path), "DATASET.NUM_SHOTS", 2, "SEED", 1]
    )
    return Folder(cfg)


STRANGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (lambda f: os.mkfifo(f / "class 0/x.png"), "x.png is no regular file"),
    "a link to the root": (
        lambda f: (f / "class 0/x").symlink_to("/"),
        "has a link to /, which is around it",
    ),
    "a class that is the root": (lambda f: (f / "x").symlink_to("/"), "has a link to /, which is around it"),
    "a link upwards": (lambda f: (f / "class 0/x").symlink_to(".."), "which is around it: remove the link"),
    "a link to itself": (lambda f: (f / "class 0/x").symlink_to("."), "whose images are there already"),
    "a class twice": (lambda f: (f / "x").symlink_to("class 1"), "class 1, whose images are there already"),
    "a class in another": (lambda f: (f / "class 0/x").symlink_to("../class 1"), "are there already"),
    "a device": (lambda f: (f / "class 0/x.png").symlink_to("/dev/zero"), "no regular file"),
    "a line break": (lambda f: (f / "class 0").rename(f / "a\nb"), "has control characters"),
    "half a character": (lambda f: os.rename(f / "class 0", os.fsencode(f) + b"/\xff"), "control characters"),
    "blanks": (lambda f: (f / "class 0").rename(f / "  "), "has an empty class name"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_folders_are_refused_by_name(kind: str, images: Path) -> None:
    make, said = STRANGE[kind]
    make(images)
    with pytest.raises(ValueError, match=said):
        load(images)
    assert not (images / "split.json").exists()


def test_a_pipe_in_place_of_the_split_does_not_wait(images: Path) -> None:
    os.mkfifo(images / "split.json")
    assert load(images).num_classes == 3
    with pytest.raises(ValueError, match="no regular file"):
        os.mkfifo(images / "list.csv")
        load(images / "list.csv")


def test_names_that_clip_reads_alike_are_warned_of(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    (images / "class 0").rename(images / "Class_1")
    load(images)
    assert "'Class_1' and 'class 1' are the same words to CLIP" in caplog.text


ROW = {"path": "class 0/0.png", "class": "zero"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *[(content, "must be a list of objects") for content in (5, None, "x", True)],
        ([None], "entry 1 is None"),
        *[([{**ROW, "label": label}], "is no whole number") for label in (1.5, True, [1], float("inf"), "x")],
        ([{**ROW, "class": ["a"]}], "must give path, class"),
        ([{**ROW, "split": ["train"]}], "must be train, val or test"),
        ([ROW] * 8, "is in 'train' and in 'val'"),
    ],
)
def test_json_lists_of_every_kind(content: Any, said: str, images: Path) -> None:
    (images / "list.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said) as caught:
        load(images / "list.json")
    assert "list.json" in str(caught.value)


def split(**changes: Any) -> dict[str, list[Item]]:
    parts = {
        part: [Item(f"{part}/{n}.png", n, "ab"[n]) for n in range(2)] for part in ("train", "val", "test")
    }
    return {**parts, **changes}


def test_splits(caplog: pytest.LogCaptureFixture) -> None:
    twice = [Item("x.png", 0, "a"), Item("x.png", 0, "a")]
    check_split(split(val=twice), Path("s.json"))
    assert "1 entries of 'val' are there twice" in caplog.text
    for items, said in (
        ([Item("x.png", 0, "a"), Item("x.png", 1, "b")], "x.png in 'val' is of two classes, 'a' and 'b'"),
        ([Item("../x.png", 0, "a")], "../x.png in 'val' is outside the images' folder"),
        ([Item("/x.png", 0, "a")], "/x.png in 'val' is outside the images' folder"),
        ([Item("x.png", 30_000_000, "c")], "missing: \\[2, 3, 4"),
    ):
        with pytest.raises(ValueError, match=said):
            check_split(split(val=items), Path("s.json"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_have_a_limit(tmp_path: Path) -> None:
    side = int(MOST_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "big.png")
    with pytest.raises(ValueError, match=r"big.png.*pixels are more than 120,000,000; save it smaller"):
        read_image(str(tmp_path / "big.png"))
