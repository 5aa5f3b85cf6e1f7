from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.golden import recipe
from tests.golden.commands import PUBLIC, arguments


@pytest.fixture(scope="session")
def golden_checkpoints(
    golden_clip: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Path]]:
    """Folder of one of the original repositories' runs, by tag, with its checkpoint as they wrote it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    specs = json.loads((PUBLIC / "checkpoints.json").read_text())
    clips = {name: torch.load(path, mmap=True) for name, path in golden_clip.items()}

    @cache
    def run_folder(tag: str) -> Path:
        state = recipe.checkpoint(specs, tag, clips)
        path = folder / specs[tag]["path"]
        path.parent.mkdir(parents=True)
        empty = {"optimizer": None, "scheduler": None, "val_result": None}
        # A slice would be saved with the whole tensor behind it.
        state = {key: tensor.clone() for key, tensor in state.items()}
        torch.save({"state_dict": state, "epoch": specs[tag]["epoch"], **empty}, path)
        return folder / tag

    yield run_folder
    shutil.rmtree(folder)  # 2 GB


@pytest.fixture
def translated(
    golden: Path,
    golden_clip: dict[str, Path],
    golden_checkpoints: Callable[[str], Path],
    tmp_path: Path,
) -> Callable[[str], list[str]]:
    """translated(command) -> our command line for a record's; its results go to ``tmp_path``."""
    return lambda command: arguments(command, golden, golden_clip, golden_checkpoints, tmp_path)
