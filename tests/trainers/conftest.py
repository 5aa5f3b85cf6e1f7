from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train
from datasets.eurosat import EuroSAT

CLASSES = ("Annual Crop Land", "Forest", "Highway or Road", "River", "Sea or Lake", "Pasture Land")
COUNTS = {"train": 4, "val": 1, "test": 3}


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six classes of coloured noise in EuroSAT's layout."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    split: dict[str, list[Any]] = {part: [] for part in COUNTS}
    for label, name in enumerate(CLASSES):
        folder = root / EuroSAT.dataset_dir / "2750" / name.replace(" ", "")
        folder.mkdir(parents=True)
        colour = rng.uniform(60, 200, 3)
        for part, count in COUNTS.items():
            for i in range(count):
                pixels = np.clip(rng.normal(colour, 25, (40, 36, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{part}_{i}.png")
                split[part].append([f"{folder.name}/{part}_{i}.png", label, name])
    (root / EuroSAT.dataset_dir / "split_zhou_EuroSAT.json").write_text(json.dumps(split))
    return root


@pytest.fixture
def build(data_root: Path, tiny_clip_file: Path, tmp_path: Path) -> Callable[..., Any]:
    """build(trainer, *options) -> a trainer on the noise images and the tiny CLIP."""

    def build_trainer(name: str, *options: str, output: Path = tmp_path / "run", seed: int = 1) -> Any:
        words = f"--root {data_root} --seed {seed} --trainer {name} --output-dir {output}".split()
        settings = {
            "DATASET.NAME": "EuroSAT",
            "DATASET.NUM_SHOTS": 3,
            "DATASET.SUBSAMPLE_CLASSES": "base",
            "DATALOADER.TRAIN_X.BATCH_SIZE": 4,
            "DATALOADER.NUM_WORKERS": 0,
            "INPUT.SIZE": (32, 32),
            "INPUT.TRANSFORMS": ("random_resized_crop", "random_flip", "normalize"),
            "OPTIM.NAME": "sgd",
            "OPTIM.LR": 0.01,
            "OPTIM.MAX_EPOCH": 2,
            "OPTIM.LR_SCHEDULER": "cosine",
            "MODEL.BACKBONE.PATH": tiny_clip_file,
        }
        words += [str(word) for pair in settings.items() for word in pair]
        args = train.parse_arguments([*words, *map(str, options)])
        cfg = train.setup_cfg(args)
        train.set_random_seed(cfg.SEED)
        return train.build_trainer(cfg)

    return build_trainer
