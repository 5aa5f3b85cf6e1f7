"""Photos that are in train and test under other names; photos that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import Folder, readable
from datasets.check import check
from datasets.near_duplicates import near_duplicates
from tests.datasets.test_folder import load, sizes


def photo(seed: int) -> Image.Image:
    """Smooth blotches: as far from each other as photos are."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    home = tmp_path / "own"
    for number, name in enumerate(("ant", "bee")):
        (home / name).mkdir(parents=True)
        for i in range(10):
            photo(100 * number + i).save(home / name / f"{i}.png")
    return home


def test_copies_are_found_however_they_were_saved(tmp_path: Path) -> None:
    for i in range(20):
        photo(i).save(tmp_path / f"{i}.png")
    exif = Image.Exif()
    exif[274] = 6
    photo(3).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    photo(4).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=60)
    photo(5).resize((800, 600)).save(tmp_path / "large.jpg")
    photo(6).resize((40, 30)).save(tmp_path / "small.jpg")
    photo(50).save(tmp_path / "another.png")
    first = [str(tmp_path / f"{i}.png") for i in range(20)]
    copies = ("turned.png", "cmyk.jpg", "large.jpg", "small.jpg", "another.png")
    second = [str(tmp_path / name) for name in copies]
    found = near_duplicates(first, second)
    assert [(pair.first, pair.second) for pair in found] == list(zip(first[3:7], second, strict=False))
    assert near_duplicates(first, []) == near_duplicates([], second) == []


def test_a_check_notes_them_in_train_and_test_alone(photos: Path) -> None:
    dataset = load(photos, shots=-1)
    assert check(Folder, photos, deep=True).notes == []
    Image.open(dataset.train_x[0].impath).save(dataset.train_x[1].impath)
    assert check(Folder, photos, deep=True).notes == []  # both are trained on
    Image.open(dataset.val[0].impath).save(dataset.test[2].impath)
    report = check(Folder, photos, deep=True)
    [note] = report.notes
    assert note.startswith("1 of 6 test images") and dataset.test[2].impath in note
    assert dataset.val[0].impath in note and not report.problems
    assert check(Folder, photos).notes == []  # only where every image is decoded


def test_where_the_package_is_absent_it_is_said(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(photos)
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    [note] = check(Folder, photos, deep=True).notes
    assert "imagehash is not installed" in note


def test_files_that_are_passed_over_are_counted(photos: Path) -> None:
    for name in ("a.heic", "b.HEIC", "c.txt", ".hidden"):
        (photos / "ant" / name).write_text("")
    [note] = check(Folder, photos).notes
    assert "3 files are not called like images" in note and "2 with .heic, 1 with .txt" in note
    assert "save .heic photos as .jpg" in note


def test_a_list_of_what_can_be_read(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos / "ant/text.jpg").write_text("no image")
    whole = (photos / "bee/0.png").read_bytes()
    (photos / "bee/half.png").write_bytes(whole[: len(whole) // 2])
    target = photos.parent / "out" / "own.json"
    assert readable.main([str(photos), "--list", str(target)]) == 0
    assert "2 images cannot be read" in caplog.text and "half.png" in caplog.text
    assert not (photos / "split.json").exists()
    listed = load(target, shots=-1)
    assert sizes(listed) == (10, 4, 6) and listed.classnames == ["ant", "bee"]
    for name in ("ant/text.jpg", "bee/half.png"):
        (photos / name).unlink()
    whole_set = load(photos, shots=-1)
    ours, theirs = ([Path(i.impath).resolve() for i in each.test] for each in (whole_set, listed))
    assert ours == theirs  # divided as the folder itself would be


def test_a_kept_split_stays(photos: Path, tmp_path: Path) -> None:
    before = load(photos, shots=-1)
    gone = Path(before.test[0].impath)
    gone.write_text("no image")
    target = tmp_path / "own.json"
    assert readable.main([str(photos), "--list", str(target)]) == 0
    after = load(target, shots=-1)
    assert [i.impath for i in after.test] == [i.impath for i in before.test[1:]]
    listed = json.loads(target.read_text())["rows"]
    assert sum(row["split"] == "train" for row in listed) == len(before.train_full)


def test_images_that_validate_and_test_are_listed_once(photos: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        shutil.copytree(photos, tmp_path / "parts" / part)
    target = tmp_path / "own.json"
    assert readable.main([str(tmp_path / "parts"), "--list", str(target)]) == 0
    assert len(json.loads(target.read_text())["rows"]) == 40
    assert sizes(load(target, shots=-1)) == (20, 20, 20)


def test_a_class_without_a_readable_image(photos: Path, tmp_path: Path) -> None:
    for path in (photos / "bee").iterdir():
        path.write_text("no image")
    assert readable.main([str(photos), "--list", str(tmp_path / "own.json")]) == 1
    assert not (tmp_path / "own.json").exists()
