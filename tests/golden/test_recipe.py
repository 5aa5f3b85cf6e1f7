"""The recipe gives the models that the records were computed from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import load_script
from tests.golden import recipe
from tests.golden.commands import PUBLIC

SPECS: dict[str, Any] = json.loads((PUBLIC / "checkpoints.json").read_text())
TAGS = [tag for tag in SPECS if tag != "ids"]


@pytest.fixture(scope="module")
def clips(golden_clip: dict[str, Path]) -> dict[str, dict[str, Tensor]]:
    return {name: torch.load(path, mmap=True) for name, path in golden_clip.items()}


def test_tiny_clips(clips: dict[str, dict[str, Tensor]]) -> None:
    expected = json.loads((PUBLIC / "clip_sha256.json").read_text())
    assert {name: recipe.digest(state) for name, state in clips.items()} == expected


@pytest.mark.parametrize("tag", TAGS)
def test_what_the_checkpoints_add_to_clip(tag: str, clips: dict[str, dict[str, Tensor]]) -> None:
    state = recipe.checkpoint(SPECS, tag, clips)
    own = {*SPECS[tag]["drawn"], *SPECS[tag].get("embedded", {})}
    assert recipe.digest({key: state[key] for key in own}) == SPECS[tag]["sha256"]


def test_whole_checkpoints(clips: dict[str, dict[str, Tensor]], shared: Path) -> None:
    """Bit for bit what the reference material rebuilds, which equals what the original code saved."""
    rebuild = load_script(shared / "golden/make_ckpt.py").rebuild
    for tag in TAGS:
        spec = json.loads((shared / f"golden/ckpt/{tag}.json").read_text())
        assert spec["verified"] is True
        models = [clips[name.removeprefix("public-")] for name in (spec["clip"], spec.get("clip2")) if name]
        expected = rebuild(spec, *models)
        ours = recipe.checkpoint(SPECS, tag, clips)
        assert ours.keys() == expected.keys()
        for key, tensor in expected.items():
            assert ours[key].dtype == tensor.dtype and torch.equal(ours[key], tensor), f"{tag}: {key}"
        assert (SPECS[tag]["path"], SPECS[tag]["epoch"]) == (spec["path"], spec["epoch"])
