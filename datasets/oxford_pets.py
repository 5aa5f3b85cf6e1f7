"""Oxford-IIIT Pets: 37 breeds of cats and dogs (Parkhi et al., 2012)."""

import random
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive
from datasets.lists import read_items
from datasets.split_file import Item, Split
from datasets.split_rules import split_trainval

_HOME = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"


def _breed(image: str) -> str:
    return image.rpartition("_")[0]


def _parse(line: str) -> Item:
    image, label, _species, _number = line.split(" ")
    return Item(f"{image}.jpg", int(label) - 1, _breed(image).lower())


@DATASET_REGISTRY.register()
class OxfordPets(FewShotBenchmark):
    dataset_dir = "oxford_pets"
    template = "a photo of a {}, a type of pet."
    image_dir = "images"
    split_file = "split_zhou_OxfordPets.json"
    example = "Abyssinian_1.jpg"
    published = Counts(37, 2944, 736, 3669)
    mirror = "oxford_pets.zip"
    sources = (
        Source((f"{_HOME}/images.tar.gz",), {"images": "images"}, "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        Source(
            (f"{_HOME}/annotations.tar.gz",),
            {"annotations": "annotations"},
            "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
        ),
        on_drive(
            "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs",
            "split_zhou_OxfordPets.json",
            "d7f3ffe65b3919f95132e51422894ae18686b83c331fd8c0adcdc3dc2de6301e",
        ),
    )

    @classmethod
    def class_key(cls, path: str) -> str:
        return _breed(path)

    @classmethod
    def make_split(cls, folder: Path, rng: random.Random) -> Split:
        annotations = folder / "annotations"
        train, val = split_trainval(read_items(annotations / "trainval.txt", _parse), rng)
        return {"train": train, "val": val, "test": read_items(annotations / "test.txt", _parse)}
