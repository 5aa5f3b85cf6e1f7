"""Upstream's pickled selections: read as they are, and never run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from dassl.data.datasets import Datum
from datasets import DescribableTextures, ImageNet
from datasets.pickles import read_pickled
from datasets.split_file import Item
from tests.datasets.trees import Placeholders, config, make_class_folders, make_invented

KNOWN = [Item(f"a/{n}.jpg", 0, "ant") for n in range(4)] + [Item(f"b/{n}.jpg", 1, "bee") for n in range(4)]


def datum(path: str, label: int, name: str) -> Datum:
    return Datum(f"/home/someone/DATA/dtd/images/{path}", label, classname=name)


def test_reading_is_upstreams_choice_with_paths_of_this_machine(tmp_path: Path) -> None:
    chosen = [KNOWN[3], KNOWN[0], KNOWN[6]]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.pkl"
        content = {"train": [datum(*item) for item in chosen], "val": [datum(*KNOWN[1])]}
        if protocol < 2:  # these go through copyreg, which is not allowed
            path.write_bytes(pickle.dumps(content, protocol))
            with pytest.raises(ValueError, match=r"only Dassl's Datum"):
                read_pickled(path, {"train": KNOWN, "val": KNOWN})
        else:
            path.write_bytes(pickle.dumps(content, protocol))
            assert read_pickled(path, {"train": KNOWN, "val": KNOWN}) == {"train": chosen, "val": [KNOWN[1]]}


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"train": [datum("c/0.jpg", 0, "ant")]}, r"c/0.jpg is not in the data set"),
        ({"train": [datum("a/0.jpg", 1, "bee")]}, r"'bee' \(1\), in the data set 'ant' \(0\)"),
        ({"val": []}, 'it has no "train"'),
        ({"train": ["a/0.jpg"]}, "holds str objects"),
        ([1, 2], "cannot be used"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused(content: Any, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "shot.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=complaint) as error:
        read_pickled(path, {"train": KNOWN})
    assert "delete it" in str(error.value)


def test_nothing_is_run(tmp_path: Path) -> None:
    path, victim = tmp_path / "shot.pkl", tmp_path / "made by the pickle"
    path.write_bytes(pickle.dumps({"train": [Malicious(victim)]}))
    with pytest.raises(ValueError, match=r"posix.mkdir"):
        read_pickled(path, {"train": KNOWN})
    assert not victim.exists()
    path.write_bytes(pickle.dumps({"train": [datum(*KNOWN[0])]})[:30])
    with pytest.raises(ValueError, match="cannot be used"):
        read_pickled(path, {"train": KNOWN})


def test_a_stored_selection_takes_the_place_of_a_draw(tmp_path: Path) -> None:
    make_invented(DescribableTextures, tmp_path, Placeholders(tmp_path), [("ant", "ant"), ("bee", "bee")])
    drawn = DescribableTextures(config(tmp_path, 2))
    folder = tmp_path / "dtd" / "split_fewshot"
    assert json.loads((folder / "shot_2-seed_1.json").read_text())["train"]
    chosen = [i for i in drawn.train_full if i not in drawn.train_x]
    (folder / "shot_2-seed_1.pkl").write_bytes(pickle.dumps({"train": chosen, "val": list(drawn.val)}))
    again = DescribableTextures(config(tmp_path, 2))
    assert again.train_x == chosen
    assert again.val == drawn.val
    new = DescribableTextures(config(tmp_path, 2, "new"))
    assert [i.impath for i in new.train_x] == [i.impath for i in chosen if i.classname == "bee"]


def test_imagenets_listing_decides_the_order(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet"
    for part in ("train", "val"):
        make_class_folders(folder / "images" / part, ["n1", "n2"], 6, Placeholders(tmp_path))
    (folder / "classnames.txt").write_text("n1 tench\nn2 shark\n")
    whole = ImageNet(config(tmp_path, -1))
    backwards = [
        Datum(i.impath.replace(str(tmp_path), "/elsewhere"), i.label, classname=i.classname)
        for i in reversed(whole.train_x)
    ]
    listing = folder / "preprocessed.pkl"
    listing.write_bytes(pickle.dumps({"train": backwards, "test": []}))
    assert ImageNet(config(tmp_path, -1)).train_x == list(reversed(whole.train_x))
    listing.write_bytes(pickle.dumps({"train": backwards[1:], "test": []}))
    with pytest.raises(ValueError, match="lists 11 training images, there are 12"):
        ImageNet(config(tmp_path, -1))
