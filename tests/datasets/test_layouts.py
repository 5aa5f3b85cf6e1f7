"""All fifteen data sets in upstream's folder layout: they load, count right, and complain clearly."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

import datasets
from datasets import SUN397, FGVCAircraft, Food101, ImageNet, ImageNetA, ImageNetR, ImageNetSketch, ImageNetV2
from datasets.benchmark import FewShotBenchmark
from datasets.few_shot import select_few_shot
from datasets.lists import read_classnames
from datasets.split_file import Item, read_split
from tests.datasets.trees import (
    Placeholders,
    config,
    make_aircraft,
    make_class_folders,
    make_from_split,
    make_invented,
    write_split,
)

WITH_TRUE_SPLIT = (
    "Caltech101", "DescribableTextures", "EuroSAT", "OxfordFlowers", "OxfordPets", "StanfordCars", "UCF101",
)  # fmt: skip
WNIDS = [f"n{10 * number:08d}" for number in range(1000)]
SHIFTS = (ImageNetV2, ImageNetSketch, ImageNetA, ImageNetR)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Placeholders:
    return Placeholders(tmp_path_factory.mktemp("placeholders"))


def write_classnames(folder: Path) -> Path:
    path = folder / "classnames.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{wnid} thing {number}\n" for number, wnid in enumerate(WNIDS)))
    return path


def make_imagenet(root: Path, images: Placeholders) -> Path:
    folder = root / "imagenet"
    write_classnames(folder)
    make_class_folders(folder / "images" / "train", WNIDS, 3, images)
    make_class_folders(folder / "images" / "val", WNIDS, 1, images)
    return folder


def make_shift(cls: type[FewShotBenchmark], root: Path, images: Placeholders) -> Path:
    folder = root / cls.dataset_dir
    write_classnames(folder)
    names = {ImageNetV2: [str(n) for n in range(1000)], ImageNetSketch: WNIDS}.get(cls, WNIDS[::5])
    make_class_folders(folder / cls.image_dir, names, 2, images)
    (folder / cls.image_dir / "README.txt").write_text("not a class")
    return folder


@pytest.mark.parametrize("name", WITH_TRUE_SPLIT)
def test_true_splits_at_full_size(name: str, shared: Path, tmp_path: Path, images: Placeholders) -> None:
    cls = getattr(datasets, name)
    truth = shared / "data" / "splits" / cls.split_file
    make_from_split(cls, tmp_path, truth, images)
    rows = json.loads(truth.read_text())
    whole, base, new = (cls(config(tmp_path, -1, subset)) for subset in ("all", "base", "new"))
    assert (whole.num_classes, len(whole.train_x), len(whole.val), len(whole.test)) == cls.published
    for ours, part in ((whole.train_x, "train"), (whole.val, "val"), (whole.test, "test")):
        root = f"{whole.image_dir}/"
        assert [[i.impath.removeprefix(root), i.label, i.classname] for i in ours] == rows[part]
    assert base.num_classes == (whole.num_classes + 1) // 2
    assert base.classnames + new.classnames == whole.classnames
    shots = cls(config(tmp_path, 16))
    assert max(Counter(i.label for i in shots.train_x).values()) == 16


@pytest.mark.parametrize("name", WITH_TRUE_SPLIT)
def test_selections_at_full_size(name: str, shared: Path) -> None:
    """Against the rule written out once more, on Python's global generator as upstream uses it."""
    split = read_split(shared / "data" / "splits" / getattr(datasets, name).split_file)

    def draw(items: list[Item], shots: int) -> list[Item]:
        groups: dict[int, list[Item]] = {}
        for item in items:
            groups.setdefault(item.label, []).append(item)
        picked = [random.sample(g, shots) if len(g) >= shots else g for g in groups.values()]
        return [item for group in picked for item in group]

    for seed in (0, 1, 2, 3, 1000):
        for shots in (1, 2, 4, 8, 16, 64):
            random.seed(seed)
            expected = draw(split["train"], shots), draw(split["val"], min(shots, 4))
            assert select_few_shot(split["train"], split["val"], shots, seed) == expected


@pytest.mark.parametrize("name", WITH_TRUE_SPLIT)
def test_what_is_missing_or_broken_is_named(
    name: str, shared: Path, tmp_path: Path, images: Placeholders
) -> None:
    cls = getattr(datasets, name)
    rows = json.loads((shared / "data" / "splits" / cls.split_file).read_text())
    few = {part: [row for row in rows[part] if row[1] < 2] for part in rows}
    path = write_split(cls, tmp_path, few)
    folder = tmp_path / cls.dataset_dir
    paths = [folder / cls.image_dir / p for part in few.values() for p, _, _ in part]
    images.put(paths)
    assert cls(config(tmp_path, 1)).num_classes == 2

    test_image = paths[-1]
    test_image.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"1 of the images named in {path} are missing(.|\n)*{test_image}"
    ):
        cls(config(tmp_path, 1))
    test_image.touch()
    with pytest.raises(ValueError, match=f"1 images are empty files:(.|\n)*{test_image}"):
        cls(config(tmp_path, 1))
    path.write_text("<html>")
    with pytest.raises(ValueError, match=f"{path} is not valid JSON"):
        cls(config(tmp_path, 1))
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"missing: *{path}(.|\n)*datasets.prepare {name} --data {tmp_path}"
    ):
        cls(config(tmp_path, 1))
    write_split(cls, tmp_path, few)
    test_image.unlink()
    test_image.mkdir()
    with pytest.raises(FileNotFoundError, match=f"1 of the images named (.|\n)*{test_image}\n"):
        cls(config(tmp_path, 1))
    test_image.rmdir()
    test_image.symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=f"1 images cannot be opened:\n  {test_image} .No such file"):
        cls(config(tmp_path, 1))
    shutil.rmtree(test_image.parent)
    with pytest.raises(
        FileNotFoundError, match=rf"missing: +{test_image.parent}|{test_image.parent}/ \(no such"
    ):
        cls(config(tmp_path, 1))
    with pytest.raises(FileNotFoundError, match=r"--root\) .*nowhere(.|\n)*found: .*does not exist"):
        cls(config(tmp_path / "nowhere", 1))


def test_true_class_names_of_imagenet(shared: Path, tmp_path: Path, images: Placeholders) -> None:
    truth = shared / "data" / "splits" / "imagenet_classnames.txt"
    names = read_classnames(truth)
    folder = tmp_path / "imagenet-rendition"
    make_class_folders(folder / "imagenet-r", sorted(names)[3:603:3], 1, images)
    shutil.copy(truth, folder / "classnames.txt")
    assert len(names) == 1000
    assert names["n01440764"] == "tench"
    assert ImageNetR(config(tmp_path)).classnames == [names[wnid] for wnid in sorted(names)[3:603:3]]


@pytest.mark.parametrize("cls", [Food101, SUN397])
def test_sets_whose_split_is_elsewhere(
    cls: type[FewShotBenchmark], tmp_path: Path, images: Placeholders, caplog: pytest.LogCaptureFixture
) -> None:
    assert cls.published
    classes = [(f"a/place{n}", f"place {n}") for n in range(cls.published.classes)]
    make_invented(cls, tmp_path, images, classes)
    dataset = cls(config(tmp_path, 4))
    assert (dataset.num_classes, len(dataset.test)) == (len(classes), 3 * len(classes))
    assert "cannot be compared" in caplog.text


@pytest.mark.parametrize("folder", ["", "data"])
def test_aircraft(folder: str, tmp_path: Path, images: Placeholders) -> None:
    make_aircraft(tmp_path, images, folder)
    dataset = FGVCAircraft(config(tmp_path, 1, "new"))
    assert dataset.classnames[0] == "Jet 50-200"
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (50, 50, 100)


def test_imagenet_validates_on_its_test_images(tmp_path: Path, images: Placeholders) -> None:
    make_imagenet(tmp_path, images)
    dataset = ImageNet(config(tmp_path, 2))
    assert dataset.classnames[:2] == ["thing 0", "thing 1"]
    assert (len(dataset.train_x), len(dataset.train_full)) == (2000, 3000)
    assert dataset.val == dataset.test
    assert len(dataset.test) == 1000
    assert ImageNet(config(tmp_path, -1, "new")).classnames[0] == "thing 500"


@pytest.mark.parametrize("cls", SHIFTS)
def test_shifted_imagenets(cls: type[FewShotBenchmark], tmp_path: Path, images: Placeholders) -> None:
    make_shift(cls, tmp_path, images)
    dataset = cls(config(tmp_path, 16))
    subset = cls in (ImageNetA, ImageNetR)
    assert dataset.num_classes == (200 if subset else 1000)
    assert dataset.classnames[:3] == [f"thing {n}" for n in ((0, 5, 10) if subset else (0, 1, 2))]
    assert len(dataset.test) == 2 * dataset.num_classes
    assert [i.label for i in dataset.test[:3]] == [0, 0, 1]


@pytest.mark.parametrize("cls", SHIFTS)
def test_shifted_imagenets_have_no_halves(
    cls: type[FewShotBenchmark], tmp_path: Path, images: Placeholders, caplog: pytest.LogCaptureFixture
) -> None:
    """As upstream: whatever DATASET.SUBSAMPLE_CLASSES says, which is then said."""
    make_shift(cls, tmp_path, images)
    whole = cls(config(tmp_path))
    assert "SUBSAMPLE_CLASSES" not in caplog.text
    for subset in ("base", "new"):
        caplog.clear()
        dataset = cls(config(tmp_path, subset=subset))
        assert dataset.classnames == whole.classnames and dataset.test == whole.test
        assert dataset.train_x == whole.train_x and dataset.train_full == whole.train_full
        assert f"DATASET.SUBSAMPLE_CLASSES {subset} has no effect on {cls.__name__}" in caplog.text
    with pytest.raises(ValueError, match="'old'; it must be one of all, base, new"):
        cls(config(tmp_path, subset="old"))


def test_imagenet_has_halves(tmp_path: Path, images: Placeholders, caplog: pytest.LogCaptureFixture) -> None:
    make_imagenet(tmp_path, images)
    assert ImageNet(config(tmp_path, 1, "base")).classnames[-1] == "thing 499"
    assert "has no effect" not in caplog.text


def test_numbered_folders_are_counted_not_sorted(tmp_path: Path, images: Placeholders) -> None:
    folder = make_shift(ImageNetV2, tmp_path, images)
    dataset = ImageNetV2(config(tmp_path))
    ten = [i for i in dataset.test if i.label == 10]
    assert {Path(i.impath).parent for i in ten} == {folder / ImageNetV2.image_dir / "10"}
    assert ten[0].classname == "thing 10"


@pytest.mark.parametrize("name", ["train", "val", "train/n00000070"])
def test_imagenet_without_a_folder(name: str, tmp_path: Path, images: Placeholders) -> None:
    folder = make_imagenet(tmp_path, images)
    shutil.rmtree(folder / "images" / name)
    with pytest.raises(FileNotFoundError, match=f"(?s)missing.*{folder}/images/{name}"):
        ImageNet(config(tmp_path))


@pytest.mark.parametrize("cls", SHIFTS)
def test_shifted_imagenet_without_a_folder(
    cls: type[FewShotBenchmark], tmp_path: Path, images: Placeholders
) -> None:
    folder = make_shift(cls, tmp_path, images)
    gone = folder / cls.image_dir / ("7" if cls is ImageNetV2 else WNIDS[10])
    shutil.rmtree(gone)
    with pytest.raises(
        FileNotFoundError, match=r"199 class folders" if cls.published.classes == 200 else gone.name
    ):
        cls(config(tmp_path))
    gone.mkdir()
    with pytest.raises(FileNotFoundError, match=f"{gone}.*is empty"):
        cls(config(tmp_path))


def test_class_names_that_do_not_fit_the_folders(tmp_path: Path, images: Placeholders) -> None:
    folder = make_shift(ImageNetR, tmp_path, images)
    path = write_classnames(folder)
    lines = path.read_text().splitlines()
    for broken, complaint in (
        ([*lines[1:], "n1"], r"line 1000: no class name"),
        ([*lines, lines[0]], r"named twice"),
        (lines[1:], r"has no class name for 1 folders(.|\n)*n00000000"),
        ([], r"is empty"),
    ):
        path.write_text("\n".join(broken))
        with pytest.raises(ValueError, match=complaint):
            ImageNetR(config(tmp_path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        ImageNetR(config(tmp_path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"missing:.*{path}"):
        ImageNetR(config(tmp_path))


def test_aircraft_complains(tmp_path: Path, images: Placeholders) -> None:
    make_aircraft(tmp_path, images)
    folder = tmp_path / "fgvc_aircraft"
    path = folder / "images_variant_val.txt"
    good = path.read_text()
    path.write_text(good.replace("Jet 7-200", "Boat 7"))
    with pytest.raises(ValueError, match=r"images_variant_val.txt, line 15.*unknown class 'Boat 7'"):
        FGVCAircraft(config(tmp_path))
    path.write_text(good.replace("10000 Jet", "00000 Jet"))
    with pytest.raises(ValueError, match=r"image 00000.jpg is in 'train' and in 'val'"):
        FGVCAircraft(config(tmp_path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"missing:.*images_variant_val.txt"):
        FGVCAircraft(config(tmp_path))


def test_mislabelled_split_is_refused(shared: Path, tmp_path: Path) -> None:
    cls = datasets.OxfordPets
    rows = json.loads((shared / "data" / "splits" / cls.split_file).read_text())
    path, _, name = rows["test"][0]
    rows["test"][0] = [path, rows["test"][-1][1], rows["test"][-1][2]]
    folder = tmp_path / cls.dataset_dir
    (folder / "images").mkdir(parents=True)
    (folder / cls.split_file).write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=f"mislabelled: .*{name}"):
        cls(config(tmp_path))


def test_empty_image_is_named(tmp_path: Path, images: Placeholders) -> None:
    folder = make_shift(ImageNetA, tmp_path, images)
    image = folder / ImageNetA.image_dir / WNIDS[5] / "0.JPEG"
    image.unlink()
    image.touch()
    with pytest.raises(ValueError, match=f"1 images are empty files(.|\n)*{image}"):
        ImageNetA(config(tmp_path))


@pytest.mark.parametrize(
    "name", ["SUN397", "FGVCAircraft", "ImageNet", "ImageNetA", "ImageNetV2", "StanfordCars"]
)
def test_another_kind_of_file_is_as_good_as_none(name: str, tmp_path: Path) -> None:
    cls = getattr(datasets, name)
    home = tmp_path / cls.dataset_dir
    expected = [n for n in (cls.image_dir, *cls.lists, cls.split_file) if n and "images/" not in n]
    for entry in expected:
        path = home / entry
        if path.suffix:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    with pytest.raises(FileNotFoundError) as error:
        cls(config(tmp_path))
    for entry in expected:
        kind = "file" if (home / entry).suffix else "folder"
        assert f"missing:    {home / entry} (what is there is no {kind})" in str(error.value)
    assert len(str(error.value).splitlines()) <= 20


def test_half_unpacked_archives_are_no_images(tmp_path: Path, images: Placeholders) -> None:
    """A class folder that was unpacked into itself."""
    folder = make_shift(ImageNetA, tmp_path, images) / ImageNetA.image_dir
    (folder / WNIDS[5]).rename(folder / "moved")
    (folder / WNIDS[5]).mkdir()
    (folder / "moved").rename(folder / WNIDS[5] / WNIDS[5])
    with pytest.raises(FileNotFoundError, match=f"{WNIDS[5]}.*is empty; unpack it again"):
        ImageNetA(config(tmp_path))


@pytest.mark.parametrize("cls", [Food101, SUN397, FGVCAircraft])
def test_what_is_missing_or_empty_is_named_without_a_true_split(
    cls: type[FewShotBenchmark], tmp_path: Path, images: Placeholders
) -> None:
    if cls is FGVCAircraft:
        make_aircraft(tmp_path, images)
    else:
        make_invented(cls, tmp_path, images, [(f"a/place{n}/indoor", f"indoor place{n}") for n in range(3)])
    home = tmp_path / cls.dataset_dir
    image = sorted((home / cls.image_dir).rglob("*.jpg"))[-1]  # a test image, needed by every run
    image.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 of the images named in .* are missing:\n  {image}"):
        cls(config(tmp_path))
    image.touch()
    with pytest.raises(ValueError, match=f"1 images are empty files:\n  {image}"):
        cls(config(tmp_path))
    shutil.rmtree(home / cls.image_dir)
    source = home / (cls.split_file or "variants.txt")
    source.unlink()
    with pytest.raises(FileNotFoundError, match=f"missing: +{source}(.|\n)*datasets.prepare {cls.__name__} "):
        cls(config(tmp_path))
