"""Digits: the 1,797 handwritten digits that scikit-learn ships (Alpaydin & Kaynak, 1998), 8 x 8 pixels."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

from dassl.data.datasets import DATASET_REGISTRY
from datasets.homemade import HomemadeBenchmark, assign_parts

CLASSNAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIDE = 32  # pixels


@DATASET_REGISTRY.register()
class Digits(HomemadeBenchmark):
    dataset_dir = "digits"
    split_file = "split_digits.json"
    example = "00/00000.png"

    @staticmethod
    def images() -> Iterator[tuple[str, int, str, Image.Image]]:
        from sklearn.datasets import load_digits  # slow to import, and needed only once

        digits = load_digits()
        rng = random.Random(0)
        for label, classname in enumerate(CLASSNAMES):
            members = np.flatnonzero(digits.target == label)
            parts = assign_parts(len(members), {"train": 60, "val": 20}, rng)
            for part, member in zip(parts, members, strict=True):
                grey = np.clip(digits.images[member] * (255 / 16), 0, 255).round().astype(np.uint8)
                image = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
                yield part, label, classname, image.convert("RGB")
