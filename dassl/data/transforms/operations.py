"""The operations that augmentation policies are made of: of an RGB image and a strength."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from dassl.data.transforms.augment import Generator, chance, uniform


class Moving(NamedTuple):
    """How an image is moved: the colour of what was outside it, and how a sheared one is sampled."""

    fill: int | tuple[int, int, int] = 0
    shearing: Image.Resampling = Image.Resampling.NEAREST


def signed(strength: float, generator: Generator) -> float:
    """``strength`` or, as often, its negative."""
    return -strength if chance(0.5, generator) else strength


def _affine(
    img: Image.Image,
    matrix: tuple[float, ...],
    moving: Moving,
    sampling: Image.Resampling = Image.Resampling.NEAREST,
) -> Image.Image:
    return img.transform(img.size, Image.Transform.AFFINE, matrix, sampling, fillcolor=moving.fill)


def _solarize_add(img: Image.Image, strength: float) -> Image.Image:
    lighter = np.clip(np.asarray(img) + strength, 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(lighter), 128)


# Pixels at a row's height or a column's distance from the left; shares of the image's size; pixels; degrees.
MOVES: dict[str, Callable[[Image.Image, float, Moving], Image.Image]] = {
    "shear_x": lambda img, v, how: _affine(img, (1, v, 0, 0, 1, 0), how, how.shearing),
    "shear_y": lambda img, v, how: _affine(img, (1, 0, 0, v, 1, 0), how, how.shearing),
    "translate_x": lambda img, v, how: _affine(img, (1, 0, v * img.width, 0, 1, 0), how),
    "translate_y": lambda img, v, how: _affine(img, (1, 0, 0, 0, 1, v * img.height), how),
    "translate_x_pixels": lambda img, v, how: _affine(img, (1, 0, v, 0, 1, 0), how),
    "translate_y_pixels": lambda img, v, how: _affine(img, (1, 0, 0, 0, 1, v), how),
    "rotate": lambda img, v, how: img.rotate(v, fillcolor=how.fill),
}

# The factor on what tells the image from a dull one: 1 gives the image itself.
ENHANCEMENTS: dict[str, Any] = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}

# Bits that are kept; the value from which on the negative is shown; what is added, before 128 is that value.
VALUES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "posterize": lambda img, v: ImageOps.posterize(img, int(v)),
    "solarize": lambda img, v: ImageOps.solarize(img, v),  # type: ignore[arg-type] # any number does
    "solarize_add": _solarize_add,
}

# Without a strength.
PLAIN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "identity": lambda img: img,
    "invert": ImageOps.invert,
}


def apply(name: str, img: Image.Image, strength: float, moving: Moving) -> Image.Image:
    """One of `MOVES`, `ENHANCEMENTS`, `VALUES` and `PLAIN`."""
    if name in MOVES:
        return MOVES[name](img, strength, moving)
    if name in ENHANCEMENTS:
        return ENHANCEMENTS[name](img).enhance(strength)
    if name in VALUES:
        return VALUES[name](img, strength)
    return PLAIN[name](img)


def cut_out(img: Image.Image, strength: float, generator: Generator) -> Image.Image:
    """Paint a square of ``strength`` pixels around a random point in the mean colour of photographs."""
    left = int(max(0, uniform(1, img.width, generator) - strength / 2))
    top = int(max(0, uniform(1, img.height, generator) - strength / 2))
    img = img.copy()
    box = (left, top, min(img.width, left + strength), min(img.height, top + strength))
    ImageDraw.Draw(img).rectangle(box, (125, 123, 114))
    return img
