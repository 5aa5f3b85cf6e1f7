"""The embedded weights: their format and size, and zero-shot accuracy in the band that a demo needs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import clip
from datasets import Digits, Letters, letters
from demo.pretrain import ARCHITECTURE, normalise

WEIGHTS = Path(__file__).resolve().parents[2] / "demo" / "tiny_clip.pt"


@pytest.fixture(scope="module")
def model() -> clip.CLIP:
    return clip.load(WEIGHTS).eval()


def test_file_is_a_plain_fp16_state_dict_and_small() -> None:
    assert WEIGHTS.stat().st_size <= 8_000_000
    state = torch.load(WEIGHTS, weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert all(value.isfinite().all() for value in state.values())
    embedding = state.pop("token_embedding.weight")
    assert embedding.shape[0] == 49408
    used = int(embedding.any(dim=1).sum())
    assert sum(value.numel() for value in state.values()) + used * embedding.shape[1] <= 5_000_000


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "tiny_clip.pt"
    broken.write_bytes(WEIGHTS.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"tiny_clip\.pt"):
        clip.load(broken)


def test_plain_and_compressed_archives_hold_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(WEIGHTS) as archive:
        assert archive.testzip() is None
    state = torch.load(WEIGHTS, weights_only=True)
    plain = io.BytesIO()
    torch.save(state, plain)
    plain.seek(0)
    again = torch.load(plain, weights_only=True)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)


def test_architecture_is_the_one_that_is_trained(model: clip.CLIP) -> None:
    assert model.arch == ARCHITECTURE


def accuracy(model: clip.CLIP, made: Iterator[tuple[str, int, str, Image.Image]]) -> float:
    """Zero-shot accuracy in per cent on the test images with "a photo of a {}."."""
    names: dict[int, str] = {}
    pixels: list[Tensor] = []
    labels = []
    for part, label, classname, image in made:
        names[label] = classname
        if part == "test":
            pixels.append(torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255)
            labels.append(label)
    tokens = clip.tokenize([f"a photo of a {names[label]}." for label in sorted(names)])
    with torch.inference_mode():
        predicted = model(normalise(torch.stack(pixels)), tokens).argmax(dim=1)
    return 100 * (predicted == torch.tensor(labels)).float().mean().item()


def test_zero_shot_on_digits_leaves_room(model: clip.CLIP) -> None:
    assert 50 <= accuracy(model, Digits.images()) <= 85


def test_zero_shot_on_letters_leaves_room(model: clip.CLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "_PER_CLASS", {"train": 1, "val": 1, "test": 14})  # a quick sample
    assert 45 <= accuracy(model, Letters.images()) <= 85
