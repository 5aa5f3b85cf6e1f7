"""Images that hard negatives are drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dassl.data.datasets import Datum
from trainers.plugins.dpc.pool import by_class, read_library

Make = Callable[..., Any]


@pytest.fixture
def dataset(tmp_path: Path) -> Any:
    """Two of three classes, as a run on the new classes has them: labelled from 0, b before c."""
    for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg"):
        (tmp_path / "set/images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set/images" / name).touch()
    folder = tmp_path / "set"
    return SimpleNamespace(
        classnames=["bee", "cow"], num_classes=2, dataset_dir=str(folder), image_dir=str(folder / "images")
    )


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


LIBRARY = {"ant": [0, ["a/1.jpg"]], "bee": [1, ["b/1.jpg", "b/2.jpg"]], "cow": [2, ["images/c/1.jpg"]]}


def test_a_library_is_read_by_class_name(dataset: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "library.json", {"train": [LIBRARY], "val": [{}], "train_obj_list": ["ant"]})
    pool = read_library(path, dataset)
    images = tmp_path / "set/images"
    assert pool == {
        0: [Datum(str(images / f"b/{i}.jpg"), 0, classname="bee") for i in (1, 2)],
        1: [Datum(str(images / "c/1.jpg"), 1, classname="cow")],  # as the data set's own folder has it
    }


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"train": [{"bee": [1, ["b/1.jpg"]]}]}, ValueError, "has no images of cow"),
        ({"train": [LIBRARY | {"cow": [2, []]}]}, ValueError, "has no images of cow"),
        (
            {"train": [LIBRARY | {"cow": [2, ["c/9.jpg"]]}]},
            FileNotFoundError,
            "names 'c/9.jpg', which is not",
        ),
        ({"train": [LIBRARY | {"cow": [2, ["../images/c/1.jpg"]]}]}, FileNotFoundError, "names '../i"),
        ({"val": [{}]}, ValueError, "is not a picture library"),
        ({"train": []}, ValueError, "is not a picture library"),
        ({"train": [{"bee": 3}]}, ValueError, "is not a picture library"),
        ([1, 2], ValueError, "is not a picture library"),
    ],
)
def test_what_a_library_lacks_is_said(
    dataset: Any, tmp_path: Path, content: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        read_library(write(tmp_path / "library.json", content), dataset)
    assert "TRAINER.DPC.NEGATIVE_POOL" in str(raised.value)


def test_a_broken_and_a_missing_file(dataset: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="is not a picture library"):
        read_library(str(tmp_path / "broken.json"), dataset)
    with pytest.raises(FileNotFoundError, match=r"there is no such file.*NEGATIVE_POOL train draws"):
        read_library(str(tmp_path / "nowhere.json"), dataset)


def test_a_class_without_an_image_is_refused(dataset: Any) -> None:
    items = [Datum("x.jpg", 0, classname="bee")]
    with pytest.raises(ValueError, match="hard negative for: cow"):
        by_class(items, dataset)


def test_negatives_are_drawn_from_the_library_alone(dpc: Make, data_root: Path, tmp_path: Path) -> None:
    one_each = {
        "Annual Crop Land": [0, ["AnnualCropLand/train_3.png"]],
        "Forest": [1, ["Forest/train_3.png"]],
        "Highway or Road": [2, ["HighwayorRoad/train_3.png"]],
    }
    path = write(tmp_path / "library.json", {"train": [one_each]})
    trainer = dpc("CoOp", "TRAINER.DPC.NEGATIVE_POOL", path)
    trainer.prepare()
    names = [[Path(item.impath).name for item in items] for items in trainer.negatives.pool.values()]
    assert names == [["train_3.png"]] * 3
