"""Rendering and captions for the demo model's pretraining."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets import letters
from demo import captions, glyphs
from demo.glyphs import Bank
from demo.render import ATTRIBUTES, SIDE, Renderer

INK = list(ATTRIBUTES).index("ink")


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Two shapes of each character, without fonts: a bar and a box."""
    masks = np.zeros((72, 64, 64), np.uint8)
    masks[:36, 10:54, 28:36] = 255
    masks[36:, 20:44, 20:44] = 255
    content = np.tile(np.arange(36), 2)
    medium = np.repeat([0, 1], 36)
    case = np.where(content < 10, 0, 1 + medium)
    return Bank(masks, content, case, medium, weight=2 * medium, slanted=medium)


def test_test_fonts_are_not_trained_on() -> None:
    trained_on = " ".join(glyphs.FONT_PACKAGES).lower()
    assert "matplotlib" not in trained_on
    for family in ("dejavu", "stix", "cmr10", "cmss10"):
        assert any(name.lower().startswith(family) for name in letters.FONTS)
        assert family not in trained_on
    if all(importlib.util.find_spec(package) for package in glyphs.FONT_PACKAGES):
        names = {path.stem for path in glyphs.font_files()}
        assert len(names) > 30
        assert not names & set(letters.FONTS)


def test_missing_fonts_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "FONT_PACKAGES", ("font_that_nobody_drew",))
    with pytest.raises(FileNotFoundError, match=r"font_that_nobody_drew.*demo/requirements.txt"):
        glyphs.font_files()


def test_a_seed_gives_the_same_images(bank: Bank) -> None:
    first, second, other = (Renderer(bank, seed).batch(20) for seed in (3, 3, 4))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.attributes, second.attributes)
    assert not torch.equal(first.images, other.images)


def test_images_are_in_range_and_attributes_known(bank: Bank) -> None:
    batch = Renderer(bank, 0).batch(300)
    assert batch.images.shape == (300, 3, SIDE, SIDE)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    for column, values in zip(batch.attributes.t(), ATTRIBUTES.values(), strict=True):
        assert column.min() >= -1
        assert column.max() < values


def test_easiest_images_are_plain(bank: Bank) -> None:
    batch = Renderer(bank, 0).batch(100, difficulty=0.0)
    shown = dict(zip(ATTRIBUTES, batch.attributes.t(), strict=True))
    assert not shown["background"].any()
    assert not shown["quality"].any()
    assert set(shown["ink"].tolist()) == {0, 1}  # black and white


def test_drawn_strokes_are_ink_where_the_pen_went() -> None:
    mask = glyphs.draw_strokes([np.array([[10.0, 32.0], [54.0, 32.0]])], pen=4)
    assert mask[32, 32] == 255
    assert mask[20, 32] == 0


def test_captions_are_true_and_say_what_is_shown(bank: Bank) -> None:
    shown = Renderer(bank, 0).batch(200).attributes
    texts, claims = captions.caption_batch(shown, random.Random(0))
    assert captions.fits(claims, shown).diag().all()
    assert torch.equal(claims[:, 0], shown[:, 0])
    mentioned = claims[:, INK] >= 0
    assert 0.1 < mentioned.float().mean() < 0.5
    assert len(set(texts)) > 150


def test_a_false_claim_does_not_fit(bank: Bank) -> None:
    shown = Renderer(bank, 0).batch(10).attributes
    claims = shown.clone()
    claims[:, INK] = (shown[:, INK] + 1) % ATTRIBUTES["ink"]
    assert not captions.fits(claims, shown).diag().any()


def test_no_scikit_learn_digits_are_trained_on() -> None:
    for file in Path(glyphs.__file__).parent.glob("*.py"):
        assert "sklearn" not in file.read_text()
