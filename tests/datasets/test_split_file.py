"""What a split file may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasets.lists import read_classnames
from datasets.split_file import read_split

GOOD = {
    "train": [["a/0.png", 0, "a"], ["b/0.png", 1, "b"]],
    "val": [["a/1.png", 0, "a"]],
    "test": [["b/2.png", 1, "b"]],
}


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_good_file_is_read_as_it_stands(tmp_path: Path) -> None:
    split = read_split(write(tmp_path, GOOD))
    assert {part: [list(item) for item in items] for part, items in split.items()} == GOOD


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (json.dumps(GOOD)[:-9], "not valid JSON"),
        ({"train": [], "test": []}, "lists"),
        ([1, 2], "lists"),
        ({**GOOD, "val": [["a/1.png", "0", "a"]]}, r"entry 0 of 'val'"),
        ({**GOOD, "test": [["b/2.png", 1]]}, r"entry 0 of 'test'"),
        ({**GOOD, "test": [["b/2.png", 1, "bee"]]}, r"label 1 is called 'b'.*b/2.png.*'bee'"),
        ({**GOOD, "test": [["d/2.png", 3, "d"]]}, r"without gaps; missing: \[2\]"),
        ({**GOOD, "test": [["c/2.png", 2, "c"]]}, r"no training images for class 2 \(c\)"),
        ({"train": [], "val": [], "test": []}, "labels must be"),
        ({**GOOD, "test": []}, "has no test images"),
        ({**GOOD, "train": [["a/0.png", 0, " "], ["b/0.png", 1, "b"]], "val": []}, "label 0 has an empty"),
        (
            {**GOOD, "train": [["a/0.png", 0, "b"], ["b/0.png", 1, "b"]], "val": []},
            "class name 'b' has the labels 0 and 1",
        ),
        ({**GOOD, "test": [["a/0.png", 0, "a"]]}, "image a/0.png is in 'train' and in 'test'"),
        ("[" * 100_000, "not valid JSON .*delete it"),
    ],
)
def test_bad_file_is_refused_with_its_reason(tmp_path: Path, content: object, complaint: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=complaint) as error:
        read_split(path)
    assert str(path) in str(error.value)


def test_a_mark_of_the_byte_order_is_skipped(tmp_path: Path) -> None:
    """As Windows' editor writes it."""
    path = tmp_path / "split.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert read_split(path) == read_split(write(tmp_path, GOOD))
    (tmp_path / "classnames.txt").write_text("n1 ant\n", encoding="utf-8-sig")
    assert read_classnames(tmp_path / "classnames.txt") == {"n1": "ant"}
