"""Policies that were learned for a data set: AutoAugment (Cubuk et al., 2018).

A policy is 25 pairs of operations; of each operation its probability and its level, 0 to 9. The numbers are
the paper's as Dassl has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from dassl.data.transforms.augment import Generator, chance, randint
from dassl.data.transforms.operations import ENHANCEMENTS, Moving, apply, signed

Pair = tuple[str, float, int, str, float, int]

IMAGENET: tuple[Pair, ...] = (
    ("posterize", 0.4, 8, "rotate", 0.6, 9),
    ("solarize", 0.6, 5, "autocontrast", 0.6, 5),
    ("equalize", 0.8, 8, "equalize", 0.6, 3),
    ("posterize", 0.6, 7, "posterize", 0.6, 6),
    ("equalize", 0.4, 7, "solarize", 0.2, 4),
    ("equalize", 0.4, 4, "rotate", 0.8, 8),
    ("solarize", 0.6, 3, "equalize", 0.6, 7),
    ("posterize", 0.8, 5, "equalize", 1.0, 2),
    ("rotate", 0.2, 3, "solarize", 0.6, 8),
    ("equalize", 0.6, 8, "posterize", 0.4, 6),
    ("rotate", 0.8, 8, "color", 0.4, 0),
    ("rotate", 0.4, 9, "equalize", 0.6, 2),
    ("equalize", 0.0, 7, "equalize", 0.8, 8),
    ("invert", 0.6, 4, "equalize", 1.0, 8),
    ("color", 0.6, 4, "contrast", 1.0, 8),
    ("rotate", 0.8, 8, "color", 1.0, 2),
    ("color", 0.8, 8, "solarize", 0.8, 7),
    ("sharpness", 0.4, 7, "invert", 0.6, 8),
    ("shear_x", 0.6, 5, "equalize", 1.0, 9),
    ("color", 0.4, 0, "equalize", 0.6, 3),
    ("equalize", 0.4, 7, "solarize", 0.2, 4),
    ("solarize", 0.6, 5, "autocontrast", 0.6, 5),
    ("invert", 0.6, 4, "equalize", 1.0, 8),
    ("color", 0.6, 4, "contrast", 1.0, 8),
    ("equalize", 0.8, 8, "equalize", 0.6, 3),
)
CIFAR10: tuple[Pair, ...] = (
    ("invert", 0.1, 7, "contrast", 0.2, 6),
    ("rotate", 0.7, 2, "translate_x", 0.3, 9),
    ("sharpness", 0.8, 1, "sharpness", 0.9, 3),
    ("shear_y", 0.5, 8, "translate_y", 0.7, 9),
    ("autocontrast", 0.5, 8, "equalize", 0.9, 2),
    ("shear_y", 0.2, 7, "posterize", 0.3, 7),
    ("color", 0.4, 3, "brightness", 0.6, 7),
    ("sharpness", 0.3, 9, "brightness", 0.7, 9),
    ("equalize", 0.6, 5, "equalize", 0.5, 1),
    ("contrast", 0.6, 7, "sharpness", 0.6, 5),
    ("color", 0.7, 7, "translate_x", 0.5, 8),
    ("equalize", 0.3, 7, "autocontrast", 0.4, 8),
    ("translate_y", 0.4, 3, "sharpness", 0.2, 6),
    ("brightness", 0.9, 6, "color", 0.2, 8),
    ("solarize", 0.5, 2, "invert", 0.0, 3),
    ("equalize", 0.2, 0, "autocontrast", 0.6, 0),
    ("equalize", 0.2, 8, "equalize", 0.6, 4),
    ("color", 0.9, 9, "equalize", 0.6, 6),
    ("autocontrast", 0.8, 4, "solarize", 0.2, 8),
    ("brightness", 0.1, 3, "color", 0.7, 0),
    ("solarize", 0.4, 5, "autocontrast", 0.9, 3),
    ("translate_y", 0.9, 9, "translate_y", 0.7, 9),
    ("autocontrast", 0.9, 2, "solarize", 0.8, 3),
    ("equalize", 0.8, 8, "invert", 0.1, 3),
    ("translate_y", 0.7, 9, "autocontrast", 0.9, 1),
)
SVHN: tuple[Pair, ...] = (
    ("shear_x", 0.9, 4, "invert", 0.2, 3),
    ("shear_y", 0.9, 8, "invert", 0.7, 5),
    ("equalize", 0.6, 5, "solarize", 0.6, 6),
    ("invert", 0.9, 3, "equalize", 0.6, 3),
    ("equalize", 0.6, 1, "rotate", 0.9, 3),
    ("shear_x", 0.9, 4, "autocontrast", 0.8, 3),
    ("shear_y", 0.9, 8, "invert", 0.4, 5),
    ("shear_y", 0.9, 5, "solarize", 0.2, 6),
    ("invert", 0.9, 6, "autocontrast", 0.8, 1),
    ("equalize", 0.6, 3, "rotate", 0.9, 3),
    ("shear_x", 0.9, 4, "solarize", 0.3, 3),
    ("shear_y", 0.8, 8, "invert", 0.7, 4),
    ("equalize", 0.9, 5, "translate_y", 0.6, 6),
    ("invert", 0.9, 4, "equalize", 0.6, 7),
    ("contrast", 0.3, 3, "rotate", 0.8, 4),
    ("invert", 0.8, 5, "translate_y", 0.0, 2),
    ("shear_y", 0.7, 6, "solarize", 0.4, 8),
    ("invert", 0.6, 4, "rotate", 0.8, 4),
    ("shear_y", 0.3, 7, "translate_x", 0.9, 3),
    ("shear_x", 0.1, 6, "invert", 0.6, 5),
    ("solarize", 0.7, 2, "translate_y", 0.6, 7),
    ("shear_y", 0.8, 4, "invert", 0.8, 8),
    ("shear_x", 0.7, 9, "translate_y", 0.8, 3),
    ("shear_y", 0.8, 5, "autocontrast", 0.7, 3),
    ("shear_x", 0.7, 2, "invert", 0.1, 5),
)

# Strength at level 9, in equal steps from 0 at level 0; each with a random sign.
_SIGNED = {
    "shear_x": 0.3,
    "shear_y": 0.3,
    "translate_x": 150 / 331,
    "translate_y": 150 / 331,
    **dict.fromkeys(ENHANCEMENTS, 0.9),
}
_BITS = (8, 8, 7, 7, 6, 6, 5, 5, 4, 4)  # posterize at each level


def strength(name: str, level: int, generator: Generator) -> float:
    """What `apply` takes for the operation ``name`` at ``level``."""
    if name in _SIGNED:
        change = signed(_SIGNED[name] * level / 9, generator)
        return 1 + change if name in ENHANCEMENTS else change
    fixed = {"rotate": 30 * level / 9, "posterize": _BITS[level], "solarize": 256 * (1 - level / 9)}
    return fixed.get(name, 0)


class _Policy:
    """One of the pairs of a policy, at random."""

    pairs: Sequence[Pair]

    def __init__(self, fillcolor: tuple[int, int, int] = (128, 128, 128)) -> None:
        self.moving = Moving(fillcolor, Image.Resampling.BICUBIC)

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        first, p1, level1, second, p2, level2 = self.pairs[randint(len(self.pairs), generator)]
        for name, p, level in ((first, p1, level1), (second, p2, level2)):
            if chance(p, generator):
                img = apply(name, img, strength(name, level, generator), self.moving)
        return img

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ImageNetPolicy(_Policy):
    """The policy of ImageNet."""

    pairs = IMAGENET


class CIFAR10Policy(_Policy):
    """The policy of CIFAR-10."""

    pairs = CIFAR10


class SVHNPolicy(_Policy):
    """The policy of SVHN."""

    pairs = SVHN
