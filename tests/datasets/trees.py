"""Trees of placeholder images in upstream's layout: one image file under many names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from dassl.config import get_cfg_default
from datasets import FGVCAircraft, extend_cfg
from datasets.benchmark import FewShotBenchmark


def config(root: Path, shots: int = 2, subset: str = "all", seed: int = 1, **dataset: object) -> Any:
    """The settings of a run."""
    cfg = get_cfg_default()
    extend_cfg(cfg)
    settings = {"ROOT": str(root), "NUM_SHOTS": shots, "SUBSAMPLE_CLASSES": subset, **dataset}
    cfg.merge_from_list(["SEED", seed, *(word for k, v in settings.items() for word in (f"DATASET.{k}", v))])
    return cfg


class Placeholders:
    """Writes the same tiny image under many names, as hard links."""

    def __init__(self, store: Path) -> None:
        self.store = store
        Image.new("RGB", (2, 2), (200, 30, 60)).save(store / "placeholder.png")
        self.count = 0

    def put(self, paths: Iterable[Path]) -> None:
        made: set[Path] = set()
        for path in paths:
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            if self.count % 60000 == 0:  # a file has at most 65,000 links on some file systems
                shutil.copy(self.store / "placeholder.png", self.store / f"{self.count}.png")
                self.current = self.store / f"{self.count}.png"
            os.link(self.current, path)
            self.count += 1


def write_split(cls: type[FewShotBenchmark], root: Path, rows: dict[str, list[list[Any]]]) -> Path:
    """The split file of a data set."""
    path = root / cls.dataset_dir / cls.split_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def make_from_split(cls: type[FewShotBenchmark], root: Path, split: Path, images: Placeholders) -> None:
    """A data set of upstream's split file, at full size."""
    rows = json.loads(split.read_text())
    write_split(cls, root, rows)
    folder = root / cls.dataset_dir / cls.image_dir
    images.put(folder / path for part in rows.values() for path, _, _ in part)


def make_invented(
    cls: type[FewShotBenchmark], root: Path, images: Placeholders, classes: list[tuple[str, str]]
) -> None:
    """A data set whose true split is not at hand: (folder, class name), ten images a class."""
    rows: dict[str, list[list[Any]]] = {"train": [], "val": [], "test": []}
    for label, (folder, name) in enumerate(classes):
        for part, numbers in (("train", range(5)), ("val", range(5, 7)), ("test", range(7, 10))):
            rows[part] += [[f"{folder}/{number}.jpg", label, name] for number in numbers]
    write_split(cls, root, rows)
    folder = root / cls.dataset_dir / cls.image_dir
    images.put(folder / path for part in rows.values() for path, _, _ in part)


def make_aircraft(root: Path, images: Placeholders, folder: str = "") -> None:
    """100 variants, with 2 images in each part."""
    home = root / FGVCAircraft.dataset_dir / folder
    home.mkdir(parents=True)
    variants = [f"Jet {n}-200" for n in range(100)]
    (home / "variants.txt").write_text("".join(f"{v}\n" for v in variants))
    for offset, part in enumerate(("train", "val", "test")):
        numbered = {f"{offset}{n:03d}{copy}": v for n, v in enumerate(variants) for copy in (0, 1)}
        (home / f"images_variant_{part}.txt").write_text("".join(f"{n} {v}\n" for n, v in numbered.items()))
        images.put(home / "images" / f"{name}.jpg" for name in numbered)


def make_class_folders(
    images_dir: Path, folders: Iterable[str], per_class: int, images: Placeholders
) -> None:
    images.put(images_dir / name / f"{n}.JPEG" for name in folders for n in range(per_class))
