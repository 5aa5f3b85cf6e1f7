"""Splits made by upstream's rules, against the rules written out once more."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

import datasets
from datasets.split_file import PARTS, Item
from datasets.split_rules import split_in_three, split_trainval
from datasets.sun397 import scene_name
from datasets.ucf101 import action_name
from tests.datasets.trees import Placeholders, make_class_folders


def rule_in_three(groups: list[list[Any]], seed: int) -> dict[str, list[Any]]:
    """What upstream does with a class's images, on the global generator as it is."""
    random.seed(seed)
    split: dict[str, list[Any]] = {part: [] for part in PARTS}
    for group in groups:
        images = list(group)
        random.shuffle(images)
        a, b = round(len(images) * 0.5), round(len(images) * 0.2)
        for part, piece in zip(PARTS, (images[:a], images[a : a + b], images[a + b :]), strict=True):
            split[part].extend(piece)
    return split


def rule_trainval(items: list[Any], seed: int) -> tuple[list[Any], list[Any]]:
    random.seed(seed)
    numbers: dict[int, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item.label, []).append(number)
    train, val = [], []
    for chosen in numbers.values():
        n_val = round(len(chosen) * 0.2)
        random.shuffle(chosen)
        for rank, number in enumerate(chosen):
            (val if rank < n_val else train).append(items[number])
    return train, val


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_rules_are_upstreams(seed: int) -> None:
    sizes = (4, 5, 10, 31, 87)
    groups = [[Item(f"{c}/{n}", c, str(c)) for n in range(size)] for c, size in enumerate(sizes)]
    assert split_in_three(groups, random.Random(seed)) == rule_in_three(groups, seed)
    mixed = [item for group in groups for item in group]
    random.Random(5).shuffle(mixed)
    assert split_trainval(mixed, random.Random(seed)) == rule_trainval(mixed, seed)


def test_classes_that_are_too_small_are_named() -> None:
    with pytest.raises(ValueError, match=r"class 'ant' has 3 images.*at least 4"):
        split_in_three([[Item(str(n), 0, "ant") for n in range(3)]], random.Random(0))
    with pytest.raises(ValueError, match=r"class 'ant' has 2 training images.*at least 3"):
        split_trainval([Item(str(n), 0, "ant") for n in range(2)], random.Random(0))


@pytest.mark.parametrize("name", ["Caltech101", "DescribableTextures", "EuroSAT", "UCF101"])
def test_class_names_and_labels_are_those_of_the_true_split(name: str, shared: Path, tmp_path: Path) -> None:
    """From the folders alone come the labels and names that the true split file has."""
    cls = getattr(datasets, name)
    rows = json.loads((shared / "data" / "splits" / cls.split_file).read_text())
    truth = {Path(p).parent.name: (label, c) for part in PARTS for p, label, c in rows[part]}
    assert len(truth) == cls.published.classes
    if name == "UCF101":  # its rule reads lists of videos
        assert all(action_name(folder.replace("_", "")) == c for folder, (_, c) in truth.items())
        return
    folder = tmp_path / cls.dataset_dir
    make_class_folders(folder / cls.image_dir, [*truth, *cls.ignored], 4, Placeholders(tmp_path))
    split = cls.make_split(folder, random.Random(1))
    assert {Path(i.path).parent.name: (i.label, i.classname) for i in split["test"]} == truth


def test_pets(shared: Path, tmp_path: Path) -> None:
    cls = datasets.OxfordPets
    rows = json.loads((shared / "data" / "splits" / cls.split_file).read_text())
    (tmp_path / "annotations").mkdir()
    for name, parts in (("trainval", ("train", "val")), ("test", ("test",))):
        lines = [f"{p.removesuffix('.jpg')} {label + 1} 1 1" for part in parts for p, label, _ in rows[part]]
        (tmp_path / "annotations" / f"{name}.txt").write_text("\n".join(lines))
    split = cls.make_split(tmp_path, random.Random(1))
    assert [list(i) for i in split["test"]] == rows["test"]
    assert (len(split["train"]), len(split["val"])) == (len(rows["train"]), len(rows["val"]))
    both = sorted([*split["train"], *split["val"]])
    assert [list(i) for i in both] == sorted([*rows["train"], *rows["val"]])


def test_flowers(shared: Path, tmp_path: Path) -> None:
    cls = datasets.OxfordFlowers
    splits = shared / "data" / "splits"
    rows = json.loads((splits / cls.split_file).read_text())
    truth = {path: (label, name) for part in PARTS for path, label, name in rows[part]}
    (tmp_path / "cat_to_name.json").write_bytes((splits / "cat_to_name.json").read_bytes())
    labels = [truth[f"image_{n:05d}.jpg"][0] + 1 for n in range(1, len(truth) + 1)]
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    split = cls.make_split(tmp_path, random.Random(1))
    assert {i.path: (i.label, i.classname) for part in PARTS for i in split[part]} == truth
    assert [len(split[part]) for part in PARTS] == [len(rows[part]) for part in PARTS]
    # upstream's file was made by this rule too: classes come in the same order
    assert list(dict.fromkeys(i.label for i in split["train"])) == list(
        dict.fromkeys(r[1] for r in rows["train"])
    )
    (tmp_path / "imagelabels.mat").write_text("an error page")
    with pytest.raises(ValueError, match=r"imagelabels.mat is no MATLAB file"):
        cls.make_split(tmp_path, random.Random(1))


def test_cars(tmp_path: Path) -> None:
    names = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]
    kind = [("fname", "O"), ("class", "O")]
    train = np.array([(f"{n:05d}.jpg", n % 2 + 1) for n in range(10)], dtype=kind)
    (tmp_path / "devkit").mkdir()
    savemat(tmp_path / "devkit" / "cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    savemat(tmp_path / "devkit" / "cars_train_annos.mat", {"annotations": train})
    savemat(tmp_path / "cars_test_annos_withlabels.mat", {"annotations": train[:3]})
    split = datasets.StanfordCars.make_split(tmp_path, random.Random(1))
    assert split["test"][:2] == [
        Item("cars_test/00000.jpg", 0, "2000 AM General Hummer SUV"),
        Item("cars_test/00001.jpg", 1, "2012 Acura RL Sedan"),
    ]
    assert (len(split["train"]), len(split["val"])) == (8, 2)


def test_sun397(tmp_path: Path) -> None:
    (tmp_path / "ClassName.txt").write_text("/a/abbey\n/a/apse/indoor\n")
    lines = [f"/a/{c}/sun_{n}.jpg" for c in ("apse/indoor", "abbey") for n in range(5)]
    (tmp_path / "Training_01.txt").write_text("\n".join(lines))
    (tmp_path / "Testing_01.txt").write_text("/a/abbey/sun_9.jpg\n")
    split = datasets.SUN397.make_split(tmp_path, random.Random(1))
    assert split["test"] == [Item("a/abbey/sun_9.jpg", 0, "abbey")]
    assert {(i.label, i.classname) for i in split["train"]} == {(0, "abbey"), (1, "indoor apse")}
    assert scene_name("c/church/outdoor") == "outdoor church"
    (tmp_path / "Testing_01.txt").write_text("/a/zoo/sun_9.jpg\n")
    with pytest.raises(ValueError, match=r"Testing_01.txt, line 1.*unknown class 'a/zoo'"):
        datasets.SUN397.make_split(tmp_path, random.Random(1))


def test_ucf101(tmp_path: Path) -> None:
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 YoYo\n")
    videos = [f"{a}/v_{a}_g{n:02d}.avi" for a in ("ApplyEyeMakeup", "YoYo") for n in range(5)]
    (lists / "trainlist01.txt").write_text("\n".join(f"{v} 1" for v in videos))
    (lists / "testlist01.txt").write_text("YoYo/v_YoYo_g09.avi\n")
    split = datasets.UCF101.make_split(tmp_path, random.Random(1))
    assert split["test"] == [Item("Yo_Yo/v_YoYo_g09.jpg", 1, "Yo_Yo")]
    assert (len(split["train"]), len(split["val"])) == (8, 2)
