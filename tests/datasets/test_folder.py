"""Data sets of one's own: class folders, train/val/test folders, CSV and JSON lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datasets import Folder
from datasets.check import check
from tests.datasets.trees import config

NAMES = ("ant", "bee", "cat", "garden snail", "owl")


def make(home: Path, names: Iterable[str] = NAMES, count: int = 10) -> Path:
    for name in names:
        (home / name).mkdir(parents=True)
        for n in range(count):
            Image.new("RGB", (2, 2)).save(home / name / f"{n}.png")
        (home / name / "notes.txt").write_text("no image")
    return home


def load(path: Path, **settings: Any) -> Folder:
    return Folder(config(path.parent, **settings, DIR=str(path)))


def sizes(dataset: Folder) -> tuple[int, int, int]:
    return len(dataset.train_x), len(dataset.val), len(dataset.test)


def test_class_folders_are_split_once(tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    first = load(home, shots=-1)
    assert first.classnames == list(NAMES)
    assert sizes(first) == (25, 10, 15)
    Image.new("RGB", (2, 2)).save(home / "ant" / "00.png")
    again = load(home, shots=-1, seed=5)
    assert (again.train_x, again.val, again.test) == (first.train_x, first.val, first.test)


def test_split_is_the_same_on_every_machine(tmp_path: Path) -> None:
    one, two = (load(make(tmp_path / place / "own"), shots=-1) for place in ("a", "b"))
    ends = [[i.impath.split("/own/")[1] for i in d.test] for d in (one, two)]
    assert ends[0] == ends[1]


def test_base_new_and_few_shot(tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    base, new = (load(home, shots=2, subset=subset) for subset in ("base", "new"))
    assert base.classnames == ["ant", "bee", "cat"]
    assert new.classnames == ["garden snail", "owl"]
    assert sizes(base) == (6, 6, 9)
    assert (home / "split_fewshot" / "shot_2-seed_1.json").is_file()
    assert load(home, shots=2).num_classes == 5  # that folder is no class


def test_new_images_and_changed_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = make(tmp_path / "own")
    load(home)
    Image.new("RGB", (2, 2)).save(home / "ant" / "late.png")
    load(home)
    assert "1 images are not in" in caplog.text
    make(home, ["yak"])
    with pytest.raises(ValueError, match=r"changed since .*split.json was made: yak; delete"):
        load(home)
    shutil.rmtree(home / "yak")
    (home / "ant" / "3.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"1 of the images(.|\n)*ant/3.png(.|\n)*or delete .*split.json"
    ):
        load(home)
    (home / "split.json").unlink()
    assert load(home).num_classes == 5


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ant fire ant\nbee\twild bee\ncat cat\ngarden snail snail\nowl barn owl", None),
        (
            "fire ant\nwild bee\nkitten\nsnail\nbarn owl\n",
            ["fire ant", "wild bee", "kitten", "snail", "barn owl"],
        ),
    ],
)
def test_names_from_a_file(text: str, names: list[str] | None, tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    load(home)
    (home / "classnames.txt").write_text(text)
    assert load(home).classnames == (names or ["fire ant", "wild bee", "cat", "snail", "barn owl"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ant a\nbee b\ncat c\nowl o\n", "no line for class folder garden snail"),
        ("ant a\nant b\n", "for the second time"),
        ("ant a\nwasp b\n", "no class folder"),
        ("a\nb\n", "no class folder"),
    ],
)
def test_names_that_do_not_fit(text: str, complaint: str, tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    (home / "classnames.txt").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load(home)
    assert not (home / "split.json").exists()


def test_given_parts(tmp_path: Path) -> None:
    home = tmp_path / "own"
    make(home / "train")
    with pytest.raises(ValueError, match="neither val nor test"):
        load(home)
    make(home / "test", count=3)
    assert sizes(load(home, shots=-1)) == (40, 10, 15)
    make(home / "val", count=2)
    whole = load(home, shots=-1)
    assert sizes(whole) == (50, 10, 15)
    assert whole.test[0].impath == str(home / "test" / "ant" / "0.png")
    shutil.rmtree(home / "test")
    only_val = load(home, shots=-1)
    assert only_val.val == only_val.test
    shutil.rmtree(home / "val" / "owl")
    with pytest.raises(FileNotFoundError, match=f"class folders .*missing(.|\n)*{home}/val/owl"):
        load(home)


def test_files_that_are_no_images_are_named_before_a_split_is_kept(tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    (home / "bee" / "scan.jpg").write_text("no image")
    (home / "bee" / "Thumbs.db").write_text("no image, and not called one")
    with pytest.raises(ValueError, match=r"1 files are no images(.|\n)*bee/scan.jpg"):
        load(home)
    assert not (home / "split.json").exists()
    (home / "bee" / "scan.jpg").unlink()
    assert sizes(load(home, shots=-1)) == (25, 10, 15)


@pytest.mark.parametrize("names", [("Train", "Test"), ("train", "valid"), ("train", "validation", "test")])
def test_parts_under_other_names(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        make(tmp_path / "own" / name)
    with pytest.raises(ValueError, match=r"must call them train, val and test"):
        load(tmp_path / "own")


def test_it_is_called_by_its_folder_or_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make(tmp_path / "big cats.v2")
    assert load(home).name == "big cats.v2"
    lines = [{**row, "path": row["path"].replace("own/", "big cats.v2/")} for row in rows(home)]
    assert load(write_csv(tmp_path / "cats.csv", lines)).name == "cats"
    monkeypatch.chdir(home / "ant")
    assert Folder(config(tmp_path, DIR="..")).name == "big cats.v2"


def rows(home: Path, split: bool = True) -> list[dict[str, Any]]:
    parts = ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    return [
        {"path": f"own/{name}/{n}.png", "class": name.upper(), **({"split": part} if split else {})}
        for name in NAMES
        for n, part in enumerate(parts)
    ]


def write_csv(path: Path, lines: list[dict[str, Any]]) -> Path:
    header = list(lines[0])
    text = [",".join(header), *(",".join(str(line[key]) for key in header) for line in lines)]
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.mark.parametrize("split", [True, False])
def test_lists(split: bool, tmp_path: Path) -> None:
    lines = rows(make(tmp_path / "own"), split)
    from_csv = load(write_csv(tmp_path / "list.csv", lines), shots=-1)
    (tmp_path / "list.json").write_text(json.dumps(lines))
    from_json = load(tmp_path / "list.json", shots=-1)
    assert from_csv.classnames == [name.upper() for name in NAMES]
    assert sizes(from_csv) == (25, 10, 15)
    assert from_csv.test == from_json.test
    assert load(tmp_path / "list.csv", shots=-1).test == from_csv.test


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_as_spreadsheets_write_it(separator: str, tmp_path: Path) -> None:
    listed = write_csv(tmp_path / "list.csv", rows(make(tmp_path / "own")))
    (tmp_path / "saved.csv").write_text(
        "\ufeff" + listed.read_text().replace(",", separator), encoding="utf-8"
    )
    assert load(tmp_path / "saved.csv", shots=-1).test == load(listed, shots=-1).test
    (tmp_path / "latin.csv").write_bytes("path,class\nowl/1.png,Käuzchen\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.csv is not a CSV file in UTF-8"):
        load(tmp_path / "latin.csv")


def test_labels_decide_the_order_of_classes(tmp_path: Path) -> None:
    make(tmp_path / "own")
    lines = [{**row, "label": 4 - n // 10} for n, row in enumerate(rows(tmp_path))]
    dataset = load(write_csv(tmp_path / "list.csv", lines), subset="base")
    assert dataset.classnames == ["OWL", "GARDEN SNAIL", "CAT"]


def test_a_split_file_is_a_list_too(tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    load(home)
    shutil.copy(home / "split.json", home / "mine.json")
    assert load(home / "mine.json", shots=-1).test == load(home, shots=-1).test


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": ""}, r"entry 2 is .*must give path"),
        ({"split": "dev"}, r"entry 2: split is 'dev'"),
        ({"split": ""}, r"1 images have no split"),
        ({"path": "own/bee/0.png"}, r"own/bee/0.png"),
        ({"class": "WASP", "split": "val"}, r"no training images for class 5 \(WASP\)"),
    ],
)
def test_broken_lists(change: dict[str, str], complaint: str, tmp_path: Path) -> None:
    lines = rows(make(tmp_path / "own"))
    if change.get("path") == "own/bee/0.png":
        change = {**change, "split": "test"}
    lines[0].update(change)
    with pytest.raises(ValueError, match=complaint):
        load(write_csv(tmp_path / "list.csv", lines))


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("a")
    (tmp_path / "list.json").write_text("{")
    for name, kind, complaint in (
        ("gone", FileNotFoundError, "there is nothing"),
        ("empty", FileNotFoundError, "no folders"),
        ("list.txt", ValueError, r"\.csv or \.json"),
        ("list.json", ValueError, "not valid JSON"),
    ):
        with pytest.raises(kind, match=complaint):
            load(tmp_path / name)
    with pytest.raises(ValueError, match=r"DATASET.DIR is empty"):
        Folder(config(tmp_path))
    with pytest.raises(ValueError, match=r"class 'ant' has 3 images"):
        load(make(tmp_path / "few", count=3))
    with pytest.raises(ValueError, match=r"only the class ant; at least 2 are needed"):
        load(make(tmp_path / "one", NAMES[:1]))
    assert not list(tmp_path.rglob("split*.json"))
    make(tmp_path / "none", count=0)
    with pytest.raises(FileNotFoundError, match="none/ant has no images"):
        load(tmp_path / "none")


def test_folders_of_one_name_are_one_class(tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    load(home)  # their split is kept from before
    lines = ["ant insect", "bee insect", "cat cat", "garden snail snail", "owl cat"]
    (home / "classnames.txt").write_text("\n".join(lines))
    merged = load(home, shots=-1)
    assert merged.classnames == ["insect", "cat", "snail"] and sizes(merged) == (25, 10, 15)
    folders = {(Path(item.impath).parent.name, item.label) for item in merged.train_x}
    assert folders == {("ant", 0), ("bee", 0), ("cat", 1), ("garden snail", 2), ("owl", 1)}
    few = load(home, shots=2)
    assert len(few.train_x) == 6  # of each class, not of each folder
    (home / "classnames.txt").write_text("\n".join(f"{name} thing" for name in NAMES))
    with pytest.raises(ValueError, match="only the class thing"):
        load(home)


def test_classes_are_merged_before_they_are_divided(tmp_path: Path) -> None:
    home = make(tmp_path / "own", count=2)  # too few in each folder, enough in both
    (home / "classnames.txt").write_text("ant a\nbee a\ncat b\ngarden snail b\nowl b\n")
    assert load(home, shots=-1).classnames == ["a", "b"]


@pytest.mark.parametrize("others", [(), ("old",)])
def test_the_folder_below_is_suggested(others: tuple[str, ...], tmp_path: Path) -> None:
    make(tmp_path / "own/images")
    for name in others:
        (tmp_path / "own" / name).mkdir()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load(tmp_path / "own")
    assert str(caught.value).endswith(f" Did you mean {tmp_path}/own/images?")


def test_nothing_is_suggested_where_nothing_fits(tmp_path: Path) -> None:
    make(tmp_path / "own", ["ant"])
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "own")
    assert "Did you mean" not in str(caught.value)


def test_missing_files_of_a_list_are_named_by_line(tmp_path: Path) -> None:
    make(tmp_path, ["a", "b"])
    rows = [f"{name}/{i}.png,{name}" for name in "ab" for i in range(5)]
    rows[1], rows[7] = "a/gone.png,a", "b/away.png,b"
    (tmp_path / "own.csv").write_text("\n".join(["path,class", *rows]))
    with pytest.raises(FileNotFoundError) as caught:
        load(tmp_path / "own.csv")
    said = str(caught.value)
    assert f"line 3: {tmp_path}/a/gone.png" in said and f"line 9: {tmp_path}/b/away.png" in said
    assert "2 of the images" in said
    entries = [dict(zip(("path", "class"), row.split(","), strict=True)) for row in rows]
    (tmp_path / "own.json").write_text(json.dumps(entries))
    with pytest.raises(FileNotFoundError, match=r"entry 2: .*gone\.png"):
        load(tmp_path / "own.json")


def test_what_happens_without_a_column_split_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    make(tmp_path, ["a", "b"])
    rows = [f"{name}/{i}.png,{name}" for name in "ab" for i in range(10)]
    (tmp_path / "own.csv").write_text("\n".join(["path,class", *rows]))
    assert sizes(load(tmp_path / "own.csv", shots=-1)) == (10, 4, 6)
    assert "own.csv has no column split: of each class 50% train, 20% validate and 30% test" in caplog.text


def test_all_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    home = make(tmp_path / "own")
    (home / "ant/text.jpg").write_text("no image")
    half = home / "bee/half.png"
    Image.effect_noise((64, 64), 50).save(half)
    half.write_bytes(half.read_bytes()[:500])  # its head is whole
    [problem] = check(Folder, home, deep=True).problems
    assert problem.startswith("2 images cannot be read") and "half.png" in problem and "text.jpg" in problem
    [problem] = check(Folder, home).problems
    assert problem.startswith("1 files are no images") and "half.png" not in problem
    assert not (home / "split.json").exists()
