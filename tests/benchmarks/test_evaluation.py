from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.evaluation import measure, parse_args, prepare
from dassl.utils import user_cache
from tests.conftest import TINY


def test_every_kind_of_evaluation_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prepare(tmp_path, 6, replace(TINY, image_resolution=224, vision_patch_size=32))
    rows = measure(tmp_path, "cpu")
    assert [name.split()[0] for name, _, _ in rows] == ["plain:", "first", "second", "one"]
    assert all(took > 0 for _, took, _ in rows) and rows[-1][2] is None
    assert len(list((user_cache() / "features").iterdir())) == 1


def test_fewer_images_on_a_cpu() -> None:
    assert parse_args(["--device", "cpu"]).images < parse_args(["--device", "cuda"]).images
