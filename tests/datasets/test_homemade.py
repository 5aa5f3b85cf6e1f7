"""Digits and letters: made on first use, the same each time, whole or not at all."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from dassl.config import get_cfg_default
from datasets import Digits, Letters, letters
from datasets.homemade import make_once


def config(root: Path) -> Any:
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATASET.ROOT", str(root), "DATASET.NUM_SHOTS", 16, "SEED", 1])
    return cfg


@pytest.mark.parametrize(
    ("dataset", "classes", "total"), [(Digits, 10, 1797), (Letters, 26, 26 * 120)], ids=["digits", "letters"]
)
def test_every_class_has_its_images(dataset: Any, classes: int, total: int, tmp_path: Path) -> None:
    made = dataset(config(tmp_path))
    assert made.num_classes == classes
    assert Counter(i.label for i in made.train_x) == dict.fromkeys(range(classes), 16)
    assert min(Counter(i.label for i in made.test).values()) >= 70
    paths = {i.impath for i in (*made.train_full, *made.test)}
    assert len(paths) == len(made.train_full) + len(made.test)
    assert len(list((tmp_path / dataset.dataset_dir).rglob("*.png"))) == total
    with Image.open(made.test[0].impath) as image:
        assert (image.size, image.mode) == ((32, 32), "RGB")


@pytest.mark.parametrize("dataset", [Digits, Letters])
def test_made_alike_twice(dataset: Any) -> None:
    first, second = (list(islice(dataset.images(), 250)) for _ in range(2))
    assert [made[:3] for made in first] == [made[:3] for made in second]
    assert all(a[3].tobytes() == b[3].tobytes() for a, b in zip(first, second, strict=True))
    assert len({made[3].tobytes() for made in first}) > 200  # and not all the same picture


def test_existing_data_set_is_left_alone(tmp_path: Path) -> None:
    Digits(config(tmp_path))
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    Digits(config(tmp_path))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")} == times


def test_rivals_make_one_folder(tmp_path: Path) -> None:
    both_write = threading.Barrier(2)

    def write(folder: Path) -> None:
        both_write.wait(timeout=10)
        (folder / "content").write_text("whole")

    rivals = [threading.Thread(target=make_once, args=(tmp_path / "set", write)) for _ in range(2)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["set", "set/content"]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        make_once(tmp_path / "set", write)
    assert list(tmp_path.iterdir()) == []


def test_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"DATASET.ROOT"):
        make_once(tmp_path / "file" / "digits", lambda folder: None)


def test_a_matplotlib_without_all_fonts_is_named(tmp_path, monkeypatch):
    fonts = tmp_path / "mpl-data/fonts/ttf"
    fonts.mkdir(parents=True)
    for name in set(letters.FONTS) - {"cmti10"}:
        (fonts / f"{name}.ttf").touch()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(FileNotFoundError, match=r'lacks cmti10\.ttf .* pip install "matplotlib>=3\.11"'):
        letters.font_files()
    (fonts / "cmti10.ttf").touch()
    assert len(letters.font_files()) == len(letters.FONTS)
