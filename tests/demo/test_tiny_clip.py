"""The embedded weights, a model and its successor: their format and size, and what they reach zero-shot."""

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
from experiments.upgrade import DEMO_PAIR

DEMO = Path(__file__).resolve().parents[2] / "demo"
WEIGHTS, SUCCESSOR = DEMO / "tiny_clip.pt", DEMO / "next_clip.pt"


@pytest.fixture(scope="module")
def model() -> clip.CLIP:
    return clip.load(WEIGHTS).eval()


@pytest.mark.parametrize("weights", [WEIGHTS, SUCCESSOR], ids=lambda path: path.name)
def test_file_is_a_plain_fp16_state_dict_and_small(weights: Path) -> None:
    assert weights.stat().st_size <= 4_000_000
    state = torch.load(weights, weights_only=True)
    for scalar in ("input_resolution", "context_length", "vocab_size"):  # OpenAI's files have them
        state.pop(scalar, None)
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


@pytest.fixture(scope="module")
def successor() -> clip.CLIP:
    return clip.load(SUCCESSOR).eval()


def test_the_successor_goes_on_from_its_words_with_a_larger_image_tower(
    model: clip.CLIP, successor: clip.CLIP
) -> None:
    assert all(str(DEMO.parent / name) in (str(WEIGHTS), str(SUCCESSOR)) for name in DEMO_PAIR)
    old, new = model.state_dict(), successor.state_dict()
    text = [name for name in old if not name.startswith("visual.") and old[name].shape == new[name].shape]
    moved = {
        name: float((new[name] - old[name]).norm() / old[name].norm()) for name in text if old[name].dim() > 1
    }
    inherited = [name for name in moved if name != "text_projection"]
    assert max(moved[name] for name in inherited) < moved["text_projection"]  # warm, not anew
    size = {
        name: sum(v.numel() for v in m.visual.parameters())
        for name, m in (("old", model), ("new", successor))
    }
    assert size["new"] > size["old"]


def test_the_successor_is_better_on_both_data_sets(
    model: clip.CLIP, successor: clip.CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "_PER_CLASS", {"train": 1, "val": 1, "test": 14})  # a quick sample
    for data in (Digits, Letters):
        assert accuracy(successor, data.images()) > accuracy(model, data.images())
