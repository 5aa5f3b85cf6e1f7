"""Random operations on an image: RandAugment (Cubuk et al., 2019), and two relatives.

The operations and their ranges are those of Dassl, which has them from public implementations of RandAugment,
UDA and FixMatch.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from dassl.data.transforms.augment import Generator, chance, randint, uniform
from dassl.data.transforms.operations import MOVES, Moving, apply, cut_out, signed

Range = tuple[str, float, float]  # operation, its strength from .. to

RANDAUGMENT: tuple[Range, ...] = (
    ("autocontrast", 0, 1),
    ("equalize", 0, 1),
    ("invert", 0, 1),
    ("rotate", 0, 30),
    ("posterize", 4, 8),
    ("solarize", 0, 256),
    ("solarize_add", 0, 110),
    ("color", 0.1, 1.9),
    ("contrast", 0.1, 1.9),
    ("brightness", 0.1, 1.9),
    ("sharpness", 0.1, 1.9),
    ("shear_x", 0, 0.3),
    ("shear_y", 0, 0.3),
    ("cut_out", 0, 40),
    ("translate_x_pixels", 0, 100),
    ("translate_y_pixels", 0, 100),
)
_MOVED: tuple[Range, ...] = (
    ("rotate", -30, 30),
    ("shear_x", -0.3, 0.3),
    ("shear_y", -0.3, 0.3),
    ("translate_x", -0.3, 0.3),
    ("translate_y", -0.3, 0.3),
)
RANDAUGMENT2: tuple[Range, ...] = (
    ("autocontrast", 0, 1),
    ("brightness", 0.1, 1.9),
    ("color", 0.1, 1.9),
    ("contrast", 0.1, 1.9),
    ("equalize", 0, 1),
    ("identity", 0, 1),
    ("invert", 0, 1),
    ("posterize", 4, 8),
    ("sharpness", 0.1, 1.9),
    ("solarize", 0, 256),
    *_MOVED,
)
FIXMATCH: tuple[Range, ...] = (
    ("autocontrast", 0, 1),
    ("brightness", 0.05, 0.95),
    ("color", 0.05, 0.95),
    ("contrast", 0.05, 0.95),
    ("equalize", 0, 1),
    ("identity", 0, 1),
    ("posterize", 4, 8),
    ("sharpness", 0.05, 0.95),
    ("solarize", 0, 256),
    *_MOVED,
)


class _RandomOperations:
    """``n`` operations of ``ranges``, each drawn from all of them."""

    ranges: Sequence[Range]

    def __init__(self, n: int = 2) -> None:
        if n < 0:
            raise ValueError(f"INPUT.RANDAUGMENT_N must not be negative, got {n}")
        self.n = n

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        drawn = [self.ranges[randint(len(self.ranges), generator)] for _ in range(self.n)]
        for name, low, high in drawn:
            img = self.operate(name, low, high, img, generator)
        return img

    def operate(
        self, name: str, low: float, high: float, img: Image.Image, generator: Generator
    ) -> Image.Image:
        """The operation ``name`` with a strength of ``low`` to ``high``."""
        return _operate(name, img, uniform(low, high, generator), generator)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n={self.n})"


def _operate(name: str, img: Image.Image, strength: float, generator: Generator) -> Image.Image:
    if name == "cut_out":
        return cut_out(img, strength, generator)
    if name in MOVES:
        strength = signed(strength, generator)
    return apply(name, img, strength, Moving())


class RandAugment(_RandomOperations):
    """``n`` of 16 operations, all at ``m`` thirtieths of their range."""

    ranges = RANDAUGMENT

    def __init__(self, n: int = 2, m: float = 10) -> None:
        super().__init__(n)
        if not 0 <= m <= 30:
            raise ValueError(f"INPUT.RANDAUGMENT_M must be in 0..30, got {m}")
        self.m = m

    def operate(
        self, name: str, low: float, high: float, img: Image.Image, generator: Generator
    ) -> Image.Image:
        return _operate(name, img, self.m / 30 * (high - low) + low, generator)

    def __repr__(self) -> str:
        return f"RandAugment(n={self.n}, m={self.m})"


class RandAugment2(_RandomOperations):
    """``n`` of 15 operations at random strengths, each with probability ``p``."""

    ranges = RANDAUGMENT2

    def __init__(self, n: int = 2, p: float = 0.6) -> None:
        super().__init__(n)
        self.p = p

    def operate(
        self, name: str, low: float, high: float, img: Image.Image, generator: Generator
    ) -> Image.Image:
        return super().operate(name, low, high, img, generator) if chance(self.p, generator) else img


class RandAugmentFixMatch(_RandomOperations):
    """``n`` of 14 operations at random strengths."""

    ranges = FIXMATCH
