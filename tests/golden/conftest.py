from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.conftest import load_script
from tests.golden.commands import arguments


@pytest.fixture(scope="session")
def golden_checkpoints(
    golden: Path, golden_clip: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Folder of one of the original repositories' runs, by tag, with its checkpoint as they wrote it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    rebuild = load_script(golden / "make_ckpt.py").rebuild

    @cache
    def weights(name: str | None) -> dict[str, Tensor] | None:
        return torch.load(golden_clip[name.removeprefix("public-")]) if name else None

    @cache
    def run_folder(tag: str) -> Path:
        spec = json.loads((golden / f"ckpt/{tag}.json").read_text())
        state = rebuild(spec, weights(spec["clip"]), weights(spec.get("clip2")))
        path = folder / spec["path"]
        path.parent.mkdir(parents=True)
        empty = {"optimizer": None, "scheduler": None, "val_result": None}
        torch.save({"state_dict": state, "epoch": spec["epoch"], **empty}, path)
        return folder / tag

    return run_folder


@pytest.fixture
def translated(
    golden: Path,
    golden_clip: dict[str, Path],
    golden_checkpoints: Callable[[str], Path],
    tmp_path: Path,
) -> Callable[[str], list[str]]:
    """translated(command) -> our command line for a record's; its results go to ``tmp_path``."""
    return lambda command: arguments(command, golden, golden_clip, golden_checkpoints, tmp_path)
