"""Augmentation policies: tables, operations, draws."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dassl.config import get_cfg_default
from dassl.data.transforms import AVAI_CHOICES, autoaugment, build_transform, randaugment
from dassl.data.transforms.autoaugment import CIFAR10Policy, ImageNetPolicy, SVHNPolicy, strength
from dassl.data.transforms.operations import ENHANCEMENTS, MOVES, PLAIN, VALUES, Moving, apply, cut_out
from dassl.data.transforms.randaugment import RandAugment, RandAugment2, RandAugmentFixMatch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def img() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8))


def test_the_choices_are_dassls() -> None:
    assert set(AVAI_CHOICES) == {
        "random_flip", "random_resized_crop", "normalize", "instance_norm", "random_crop",
        "random_translation", "center_crop", "cutout", "imagenet_policy", "cifar10_policy", "svhn_policy",
        "randaugment", "randaugment_fixmatch", "randaugment2", "gaussian_noise", "colorjitter",
        "randomgrayscale", "gaussian_blur",
    }  # fmt: skip


def digest(table: Any) -> str:
    text = "; ".join(" ".join(map(str, row)) for row in table)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_tables_stay_as_they_were_checked() -> None:
    """Row by row against the tables of AutoAugment in torchvision, once."""
    tables = (autoaugment.IMAGENET, autoaugment.CIFAR10, autoaugment.SVHN)
    assert [len(table) for table in tables] == [25, 25, 25]
    assert [digest(table) for table in tables] == ["5f1e08092e4d", "e12a0e09fd10", "85d15394091f"]


def test_every_operation_of_a_table_is_there() -> None:
    pairs = (*autoaugment.IMAGENET, *autoaugment.CIFAR10, *autoaugment.SVHN)
    ranges = (randaugment.RANDAUGMENT, randaugment.RANDAUGMENT2, randaugment.FIXMATCH)
    named = {name for first, _, _, second, _, _ in pairs for name in (first, second)}
    named |= {name for table in ranges for name, *_ in table}
    assert named == {*MOVES, *ENHANCEMENTS, *VALUES, *PLAIN, "cut_out"}
    assert [len(table) for table in ranges] == [16, 15, 14]


def pixels(img: Image.Image) -> np.ndarray:
    return np.asarray(img).astype(int)


def test_moves(img: Image.Image) -> None:
    how, before = Moving(fill=(9, 8, 7)), pixels(img)
    for name, amount in (("translate_x", 0.25), ("translate_x_pixels", 3.0)):  # of 12 pixels
        after = pixels(apply(name, img, amount, how))
        np.testing.assert_array_equal(after[:, :9], before[:, 3:])
        assert (after[:, 9:] == (9, 8, 7)).all()
    for name, amount in (("translate_y", -0.25), ("translate_y_pixels", -2.0)):  # of 8 pixels
        after = pixels(apply(name, img, amount, how))
        np.testing.assert_array_equal(after[2:], before[:-2])
        assert (after[:2] == (9, 8, 7)).all()
    square = img.crop((0, 0, 8, 8))
    turned = pixels(apply("rotate", square, 90, how))
    np.testing.assert_array_equal(turned, np.rot90(pixels(square)))
    corner = pixels(apply("rotate", square, 45, how))[0, 0]
    assert corner.tolist() == [9, 8, 7]
    # a row y (from its middle) is shifted by half of y + 1/2, rounded down with the pixel's middle
    sheared = pixels(apply("shear_x", img, 0.5, how))
    for y in range(8):
        columns = np.floor(np.arange(12) + 0.5 + 0.5 * (y + 0.5)).astype(int)
        expected = [before[y, x] if x < 12 else (9, 8, 7) for x in columns]
        np.testing.assert_array_equal(sheared[y], expected)
    upright = apply("shear_y", img.transpose(Image.Transpose.TRANSPOSE), 0.5, how)
    np.testing.assert_array_equal(pixels(upright), sheared.transpose(1, 0, 2))


def test_values(img: Image.Image) -> None:
    how, before = Moving(), pixels(img)
    np.testing.assert_array_equal(pixels(apply("posterize", img, 5.9, how)), before // 8 * 8)
    solarized = np.where(before < 100, before, 255 - before)
    np.testing.assert_array_equal(pixels(apply("solarize", img, 100, how)), solarized)
    lighter = np.minimum(before + 40, 255)
    expected = np.where(lighter < 128, lighter, 255 - lighter)
    np.testing.assert_array_equal(pixels(apply("solarize_add", img, 40.7, how)), expected)
    np.testing.assert_array_equal(pixels(apply("invert", img, 0, how)), 255 - before)
    assert apply("identity", img, 0, how) is img


def test_enhancements(img: Image.Image) -> None:
    how, before = Moving(), pixels(img)
    for name in ENHANCEMENTS:
        np.testing.assert_array_equal(pixels(apply(name, img, 1.0, how)), before)
    dark = pixels(apply("brightness", img, 0.5, how))
    assert np.abs(dark - before / 2).max() <= 1
    grey = pixels(apply("color", img, 0.0, how))
    assert (grey == grey[..., :1]).all() and (grey != before).any()
    assert pixels(apply("contrast", img, 0.0, how)).std() == 0
    blurred, sharp = (pixels(apply("sharpness", img, v, how)).std() for v in (0.0, 1.9))
    assert blurred < before.std() < sharp


def test_cut_out() -> None:
    img = Image.new("RGB", (40, 40))
    areas = []
    for seed in range(200):
        painted = (pixels(cut_out(img, 10, generator(seed))) == (125, 123, 114)).all(axis=2)
        rows, columns = painted.any(axis=1).sum(), painted.any(axis=0).sum()
        assert painted.sum() == rows * columns and max(rows, columns) <= 11
        areas.append(painted.sum())
    assert pixels(img).max() == 0
    assert max(areas) == 121 and 0 < min(areas) < 60  # cut off at the border


def draws(name: str, level: int) -> Counter[float]:
    return Counter(round(strength(name, level, g), 6) for g in map(generator, range(60)))


def test_strengths_of_a_level() -> None:
    assert set(draws("shear_x", 9)) == {-0.3, 0.3} and set(draws("shear_y", 3)) == {-0.1, 0.1}
    assert set(draws("translate_y", 9)) == {round(s * 150 / 331, 6) for s in (-1, 1)}
    assert set(draws("sharpness", 5)) == {0.5, 1.5} and set(draws("color", 0)) == {1.0}
    assert min(draws("contrast", 8).values()) > 15  # either sign
    assert set(draws("rotate", 6)) == {20.0} and set(draws("invert", 7)) == {0.0}
    assert [strength("posterize", level, None) for level in range(10)] == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    assert [round(strength("solarize", level, None)) for level in (0, 3, 9)] == [256, 171, 0]


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, float, Moving]]]:
    """What is done to an image, in order; nothing is."""
    done: list[tuple[str, float, Moving]] = []

    def note(name: str, img: Image.Image, value: float, moving: Moving) -> Image.Image:
        done.append((name, value, moving))
        return img

    for module in (autoaugment, randaugment):
        monkeypatch.setattr(module, "apply", note)
    monkeypatch.setattr(randaugment, "cut_out", lambda img, v, g: note("cut_out", img, v, Moving()))
    yield done


@pytest.mark.parametrize("policy", [ImageNetPolicy, CIFAR10Policy, SVHNPolicy])
def test_a_policy_draws_a_pair_and_each_of_it(policy: Any, img: Image.Image, operations: Any) -> None:
    transform = policy()
    seen: Counter[tuple[str, ...]] = Counter()
    rounds = 4000
    for seed in range(rounds):
        operations.clear()
        transform(img, generator=generator(seed))
        seen[tuple(name for name, *_ in operations)] += 1
    expected: Counter[tuple[str, ...]] = Counter()
    for first, p1, _, second, p2, _ in transform.pairs:
        expected[(first, second)] += rounds / 25 * p1 * p2
        expected[(first,)] += rounds / 25 * p1 * (1 - p2)
        expected[(second,)] += rounds / 25 * (1 - p1) * p2
        expected[()] += rounds / 25 * (1 - p1) * (1 - p2)
    for names in expected:
        assert abs(seen[names] - expected[names]) < 5 * max(expected[names], 1) ** 0.5 + 1, names
    operations.clear()
    transform(img, generator=generator())
    assert all(moving == Moving((128, 128, 128), Image.Resampling.BICUBIC) for *_, moving in operations)


@pytest.mark.parametrize(
    ("transform", "share"), [(RandAugment(3, 15), 1), (RandAugment2(3), 0.6), (RandAugmentFixMatch(3), 1)]
)
def test_random_operations(transform: Any, share: float, img: Image.Image, operations: Any) -> None:
    rounds = 1000
    for seed in range(rounds):
        transform(img, generator=generator(seed))
    counts = Counter(name for name, *_ in operations)
    expected = 3 * rounds * share / len(transform.ranges)
    assert set(counts) == {name for name, *_ in transform.ranges}
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
    for name, low, high in transform.ranges:
        values = np.array([value for n, value, _ in operations if n == name])
        if isinstance(transform, RandAugment):
            middle = (low + high) / 2  # 15 of 30
            assert np.allclose(np.abs(values), middle)
            assert (name in MOVES) == (values.min() < 0) and (values > 0).any()
        else:
            limits = (-high, high) if name in MOVES else (low, high)
            assert values.min() >= limits[0] and values.max() <= limits[1]
            assert np.ptp(values) > 0.8 * (limits[1] - limits[0])


def test_settings() -> None:
    cfg = get_cfg_default()
    assert "RandAugment(n=2, m=10)" in repr(build_transform(cfg, True, ["randaugment"]))
    cfg.INPUT.RANDAUGMENT_N, cfg.INPUT.RANDAUGMENT_M = 4, 7
    order = repr(build_transform(cfg, True, ["colorjitter", "randaugment2", "random_flip", "randaugment"]))
    steps = ["random_flip", "RandAugment(n=4, m=7)", "RandAugment2(n=4)", "colorjitter", "to_tensor"]
    assert sorted(steps, key=order.index) == steps
    assert "RandAugment" not in repr(build_transform(cfg, False, ["randaugment"]))
    cfg.INPUT.RANDAUGMENT_M = 31
    with pytest.raises(ValueError, match=r"INPUT\.RANDAUGMENT_M must be in 0\.\.30, got 31"):
        build_transform(cfg, True, ["randaugment"])
    cfg.INPUT.RANDAUGMENT_N = -1
    with pytest.raises(ValueError, match=r"INPUT\.RANDAUGMENT_N must not be negative"):
        build_transform(cfg, True, ["randaugment_fixmatch"])


def test_no_transform() -> None:
    cfg = get_cfg_default()
    cfg.INPUT.NO_TRANSFORM = True
    assert build_transform(cfg, True) is None and build_transform(cfg, False, ["normalize"]) is None
