"""Few-shot selection, base and new classes, and what is said when data is missing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dassl.config import get_cfg_default
from datasets import EuroSAT
from datasets.benchmark import FewShotBenchmark
from datasets.fetch.sources import Source
from datasets.few_shot import select_few_shot
from datasets.split_file import Item

NAMES = ("ant", "bee", "cat", "dog", "elk")


class Tiny(FewShotBenchmark):
    dataset_dir = "tiny"
    image_dir = "images"
    split_file = "split.json"
    example = "ant/0.png"
    sources = (
        Source(("https://example.org/images.zip",), {"images": "images"}),
        Source(("https://example.org/split.json",), {"": "split.json"}),
    )


def config(root: Path, shots: int = 2, subset: str = "all", seed: int = 1) -> Any:
    cfg = get_cfg_default()
    cfg.merge_from_list(
        [
            "DATASET.ROOT",
            str(root),
            "DATASET.NUM_SHOTS",
            shots,
            "DATASET.SUBSAMPLE_CLASSES",
            subset,
            "SEED",
            seed,
        ]
    )
    return cfg


def make(root: Path, counts: tuple[int, int, int] = (6, 5, 3)) -> Path:
    """A data set of five classes; its split file."""
    split: dict[str, list[list[object]]] = {}
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        split[part] = [
            [f"{name}/{part}{i}.png", label, name] for label, name in enumerate(NAMES) for i in range(count)
        ]
        for path, _, _ in split[part]:
            file = root / "tiny" / "images" / str(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2)).save(file)
    path = root / "tiny" / "split.json"
    path.write_text(json.dumps(split))
    return path


def files_under(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def rows(items: Any, root: Path) -> list[list[object]]:
    return [[os.path.relpath(i.impath, root), i.label, i.classname] for i in items]


def test_selection_is_upstreams(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # the records' folder is read-only
    root = golden / "data"
    records = json.loads((golden / "rec" / "fewshot.json").read_text())
    for key, record in records.items():
        seed, shots, subset = key.split("_")
        dataset = EuroSAT(
            config(root, int(shots.removeprefix("shots")), subset, int(seed.removeprefix("seed")))
        )
        for part in {"train_x", "val", "test"} & set(record):
            assert rows(getattr(dataset, part), root) == record[part], f"{key} {part}"
        assert dataset.classnames == record["classnames"], key
        assert len(dataset.test) == record["n_test"], key


def test_a_class_with_too_few_images_gives_all_in_order() -> None:
    train = [Item(f"a{i}", 0, "a") for i in range(3)] + [Item(f"b{i}", 1, "b") for i in range(9)]
    drawn, val = select_few_shot(train, train, shots=4, seed=0)
    assert drawn[:3] == train[:3]
    assert len(drawn) == 7
    assert len(val) == 7


def test_base_and_new_divide_the_draw(tmp_path: Path) -> None:
    make(tmp_path)
    whole, base, new = (Tiny(config(tmp_path, subset=subset)) for subset in ("all", "base", "new"))
    assert base.classnames == ["ant", "bee", "cat"]
    assert new.classnames == ["dog", "elk"]
    assert [i.impath for i in base.train_x] + [i.impath for i in new.train_x] == [
        i.impath for i in whole.train_x
    ]
    assert {i.label for i in new.test} == {0, 1}


def test_full_training_split_is_labelled_like_the_few_shot_one(tmp_path: Path) -> None:
    make(tmp_path)
    new = Tiny(config(tmp_path, subset="new"))
    assert len(new.train_full) == 12
    assert {(i.label, i.classname) for i in new.train_full} == {(0, "dog"), (1, "elk")}
    assert set(new.train_x) <= set(new.train_full)


def test_no_shots_mean_the_whole_split(tmp_path: Path) -> None:
    make(tmp_path)
    for shots in (0, -1):
        dataset = Tiny(config(tmp_path, shots=shots))
        assert (len(dataset.train_x), len(dataset.val)) == (30, 25)


def test_selection_is_recorded_beside_the_data(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = Tiny(config(tmp_path, shots=2, seed=7))
    record = json.loads((tmp_path / "tiny" / "split_fewshot" / "shot_2-seed_7.json").read_text())
    assert [os.path.join(dataset.image_dir, path) for path, _, _ in record["train"]] == [
        i.impath for i in dataset.train_x
    ]


def test_broken_record_is_replaced(tmp_path: Path) -> None:
    make(tmp_path)
    first = Tiny(config(tmp_path))
    record = tmp_path / "tiny" / "split_fewshot" / "shot_2-seed_1.json"
    whole = record.read_text()
    record.write_text(whole[:40])
    assert Tiny(config(tmp_path)).train_x == first.train_x
    assert record.read_text() == whole


def test_selection_goes_to_the_cache_where_the_data_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "data")
    (tmp_path / "data" / "tiny" / "split_fewshot").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Tiny(config(tmp_path / "data"))
    assert len(list((tmp_path / "cache" / "dpc").glob("tiny-*/split_fewshot/shot_2-seed_1.json"))) == 1


def test_folder_without_write_permission_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "data")
    (tmp_path / "data" / "tiny").chmod(0o555)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = Tiny(config(tmp_path / "data"))
    (tmp_path / "data" / "tiny").chmod(0o755)
    assert not (tmp_path / "data" / "tiny" / "split_fewshot").exists()
    assert len(list((tmp_path / "cache" / "dpc").glob("tiny-*/split_fewshot/shot_2-seed_1.json"))) == 1
    assert Tiny(config(tmp_path / "data")).train_x == first.train_x


def test_missing_data_set_is_explained_in_one_screen(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(FileNotFoundError) as error:
        Tiny(config(tmp_path))
    message = str(error.value)
    for needed in (
        "DATASET.ROOT",
        str(tmp_path / "tiny" / "split.json"),
        "imagenet",
        "python -m datasets.prepare Tiny",
        *(source.urls[0] for source in Tiny.sources),
    ):
        assert needed in message
    assert len(message.splitlines()) <= 20
    assert files_under(tmp_path) == {tmp_path / "imagenet"}


def test_missing_images_are_named_and_counted(tmp_path: Path) -> None:
    make(tmp_path)
    for name in ("ant", "bee"):
        for i in range(6):
            (tmp_path / "tiny" / "images" / name / f"train{i}.png").unlink()
    (tmp_path / "tiny" / "images" / "elk" / "test0.png").unlink()
    before = files_under(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"13 of the images(.|\n)*bee/train3.png(.|\n)*and 3 more"):
        Tiny(config(tmp_path))
    assert files_under(tmp_path) == before


def test_unknown_subset_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(ValueError, match=r"SUBSAMPLE_CLASSES is 'half'.*all, base, new"):
        Tiny(config(tmp_path, subset="half"))


def test_one_class_has_no_new_ones(tmp_path: Path) -> None:
    path = make(tmp_path)
    split = json.loads(path.read_text())
    path.write_text(json.dumps({part: [row for row in split[part] if row[1] == 0] for part in split}))
    assert Tiny(config(tmp_path, subset="base")).classnames == ["ant"]
    with pytest.raises(ValueError, match=r"SUBSAMPLE_CLASSES is 'new'.*a single class"):
        Tiny(config(tmp_path, subset="new"))
