"""Whatever a stranger's file or a slip of the hand holds is used, or refused in a line: seeded, in seconds.

What is found here gets a test of its own, where the rest of that file's tests are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import train
from clip.weights import read_state_dict
from dassl.config import check_settings
from dassl.config.node import flatten
from dassl.config.yaml_file import read_settings
from dassl.utils import load_checkpoint, read_image
from datasets.own_lists import read_list
from datasets.split_file import read_split
from parse_test_res import main as summarise

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

SETTINGS = dict(flatten(train.default_cfg()))
MENDABLE = (ValueError, OSError, FloatingPointError)
fuzzed = hypothesis.settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
trees = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def used_or_refused(use: Callable[[], Any], *names: str) -> bool:
    """Whether it is used; where it is not, the message is a line or two and has ``names`` in it."""
    try:
        use()
    except MENDABLE as error:
        assert all(name in str(error) for name in names), f"{error!r} does not name {names}"
        return False
    return True


def as_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def mangled(content: bytes) -> Any:
    """``content`` cut, with bytes changed, put in or doubled."""

    def mangle(edits: list[tuple[int, int, bytes]]) -> bytes:
        result = bytearray(content)
        for place, length, new in edits:
            at = place % (len(result) + 1)
            result[at : at + length] = new
        return bytes(result)

    edit = st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.binary(max_size=6))
    return st.lists(edit, min_size=1, max_size=3).map(mangle)


@fuzzed
@hypothesis.given(key=st.sampled_from(sorted(SETTINGS)), value=trees)
def test_settings(key: str, value: Any) -> None:
    cfg = train.default_cfg()

    def use() -> None:
        cfg.merge_from_list([key, value])
        check_settings(cfg)

    used_or_refused(use, key)


@fuzzed
@hypothesis.given(words=st.lists(st.text(max_size=10), max_size=4))
def test_words_of_a_command_line(words: list[str]) -> None:
    cfg = train.default_cfg()
    used_or_refused(lambda: cfg.merge_from_list(words))


YAML = b"""DATASET: {NAME: "EuroSAT"}
OPTIM:
  LR: 0.002
  STEPSIZE: (10, 20)
TRAINER:
  COOP: {CTX_INIT: a}
"""


@fuzzed
@hypothesis.given(content=mangled(YAML))
def test_yaml(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = as_file(tmp_path_factory.getbasetemp(), "fuzzed.yaml", content)
    cfg = train.default_cfg()
    assert isinstance(YAML, bytes)
    used_or_refused(lambda: (read_settings(str(path)), cfg.merge_from_file(str(path))), "fuzzed.yaml")


@fuzzed
@hypothesis.given(
    content=trees | st.lists(st.fixed_dictionaries({"path": plain, "class": plain, "label": plain}))
)
def test_json_lists(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = as_file(tmp_path_factory.getbasetemp(), "fuzzed.json", json.dumps(content).encode())
    used_or_refused(lambda: read_list(path))


ITEMS = [[f"{name}/{i}.png", label, name] for label, name in enumerate("ab") for i in range(3)]
SPLIT = json.dumps({part: [[f"{part}{i[0]}", *i[1:]] for i in ITEMS] for part in ("train", "val", "test")})


@fuzzed
@hypothesis.given(content=mangled(SPLIT.encode()))
def test_split_files(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = as_file(tmp_path_factory.getbasetemp(), "split.json", content)
    used_or_refused(lambda: read_split(path), "split.json")


def checkpoint(**changes: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"ctx": torch.zeros(2, 3)}, "epoch": 1, **changes}, buffer)
    return buffer.getvalue()


@fuzzed
@hypothesis.given(content=mangled(checkpoint(optimizer={"state": {}}, settings={"SEED": "1"})))
def test_checkpoints(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = as_file(tmp_path_factory.getbasetemp(), "fuzzed.pt", content)
    used_or_refused(lambda: load_checkpoint(str(path)), "fuzzed.pt")
    used_or_refused(lambda: read_state_dict(path), "fuzzed.pt")


@fuzzed
@hypothesis.given(
    key=st.sampled_from(["state_dict", "epoch", "settings", "classnames", "trainer"]), value=trees
)
def test_what_checkpoints_hold(key: str, value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = as_file(tmp_path_factory.getbasetemp(), "fuzzed.pt", checkpoint(**{key: value}))
    used_or_refused(lambda: load_checkpoint(str(path)), "fuzzed.pt")


RECORD = json.dumps(
    {
        **{"dataset": "Digits", "method": "CoOp", "split": "test", "subsample_classes": "base"},
        **{"shots": 16, "seed": 1, "metrics": {"accuracy": 81.25}, "time": "2026-01-01T00:00:00"},
    }
)


@fuzzed
@hypothesis.given(content=mangled(RECORD.encode() + b"\n"))
def test_results(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "results/train_base/digits/shots_16/CoOp/demo/seed1"
    folder.mkdir(parents=True, exist_ok=True)
    as_file(folder, "results.jsonl", content)
    for table in ("--base-new", "--few-shot", "--xd"):
        assert summarise([str(folder.parents[5]), table]) in (0, 2)
    capsys.readouterr()


LOG = b"Finish training\n=> result\n* total: 9\n* correct: 8\n* accuracy: 88.9%\n* error: 11.1%\n"


@fuzzed
@hypothesis.given(content=mangled(LOG))
def test_logs(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "logs/seed1"
    folder.mkdir(parents=True, exist_ok=True)
    as_file(folder, "log.txt", content)
    assert summarise([str(folder.parent)]) in (0, 2)
    capsys.readouterr()


def image(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 200, 30)).save(buffer, kind)
    return buffer.getvalue()


@fuzzed
@hypothesis.given(
    content=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]).flatmap(
        lambda k: mangled(image(k))
    )
)
def test_images(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = as_file(tmp_path_factory.getbasetemp(), "fuzzed.png", content)
    used_or_refused(lambda: read_image(str(path)), "fuzzed.png")
