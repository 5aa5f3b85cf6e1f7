"""A data set of random images, with as many classes as a benchmark wants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum

SHOTS = 16
# Class names as long as the benchmark's are on average: 1 to 4 tokens.
WORDS = ["annual crop", "forest", "highway", "sea lake", "pasture", "residential", "industrial vegetation"]


@DATASET_REGISTRY.register()
class Random(DatasetBase):
    """``BENCHMARK_CLASSES`` classes of random images below DATASET.ROOT."""

    def __init__(self, cfg: Any) -> None:
        rng = np.random.default_rng(0)
        files = sorted(Path(cfg.DATASET.ROOT).glob("*.png"))
        items = []
        for label in range(int(os.environ["BENCHMARK_CLASSES"])):
            name = f"{WORDS[label % len(WORDS)]} {label}"
            items += [
                Datum(str(files[i]), label, classname=name) for i in rng.integers(len(files), size=SHOTS)
            ]
        self.train_full = items
        super().__init__(train_x=items, test=items)
