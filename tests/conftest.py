"""Fixtures for all tests: the tiny CLIP, and the reference material where it is present."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch

from clip import CLIP, Architecture

ROOT = Path(__file__).resolve().parent.parent
torch.set_num_threads(1)  # tiny models: threads cost more than they bring

TINY = Architecture(
    embed_dim=32,
    image_resolution=32,
    vision_layers=2,
    vision_width=64,
    vision_patch_size=16,
    context_length=77,
    vocab_size=49408,
    transformer_width=64,
    transformer_layers=2,
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with golden numbers and real data, which a fresh checkout does not have."""
    path = Path(os.environ.get("DPC_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"needs the reference material in {path} (DPC_SHARED names another place)")
    return path


@pytest.fixture(scope="session")
def tiny_clip() -> CLIP:
    """A random CLIP of 64-wide towers, 32-pixel images and the real vocabulary. Not to be changed."""
    torch.manual_seed(0)
    return CLIP.create(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_clip_file(tiny_clip: CLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of `tiny_clip`."""
    path = tmp_path_factory.mktemp("clip") / "tiny.pt"
    torch.save(tiny_clip.state_dict(), path)
    return path


def load_script(path: Path) -> ModuleType:
    """A Python file outside the packages as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Folder of the numbers that the original repositories compute."""
    return shared / "golden"


@pytest.fixture(scope="session")
def golden_clip(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of the golden CLIPs, by name: "b16" and "l14"."""
    folder = tmp_path_factory.mktemp("golden_clip")
    script = load_script(golden / "make_clip.py")
    files = {}
    for name in ("b16", "l14"):
        files[name] = folder / f"public-{name}.pt"
        torch.save(script.build("public", name), files[name])
    return files
