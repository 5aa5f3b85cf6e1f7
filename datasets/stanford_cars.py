"""Stanford Cars: 196 models by make and year (Krause et al., 2013)."""

import random
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive
from datasets.lists import read_mat
from datasets.split_file import Item, Split
from datasets.split_rules import split_trainval

_HOME = "https://ai.stanford.edu/~jkrause"


def _year_first(name: str) -> str:
    model, _, year = name.rpartition(" ")
    return f"{year} {model}"


@DATASET_REGISTRY.register()
class StanfordCars(FewShotBenchmark):
    dataset_dir = "stanford_cars"
    split_file = "split_zhou_StanfordCars.json"
    lists = ("cars_train", "cars_test")
    example = "cars_train/00001.jpg"
    published = Counts(196, 6509, 1635, 8041)
    origin = (
        "the original home is often away: "
        "https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset holds the two folders of images"
    )
    mirror = "stanford_cars.zip"
    sources = (
        Source(
            (f"{_HOME}/car196/cars_train.tgz",),
            {"cars_train": "cars_train"},
            "md5:065e5b463ae28d29e77c1b4b166cfe61",
        ),
        Source(
            (f"{_HOME}/car196/cars_test.tgz",),
            {"cars_test": "cars_test"},
            "md5:4ce7ebf6a94d07f1952d94dd34c4d501",
        ),
        on_drive(
            "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT",
            "split_zhou_StanfordCars.json",
            "40acee7aa65c8e4727a32d90e884b7c3f8960b523422317e163f7af65432959d",
        ),
    )

    @classmethod
    def class_key(cls, path: str) -> str:
        return path  # tells nothing about its class

    @classmethod
    def make_split(cls, folder: Path, rng: random.Random) -> Split:
        names = [
            _year_first(str(name[0])) for name in read_mat(folder / "devkit" / "cars_meta.mat", "class_names")
        ]

        def read(images: str, annotations: Path) -> list[Item]:
            rows = read_mat(annotations, "annotations")
            labels = [int(row["class"][0, 0]) - 1 for row in rows]
            return [
                Item(f"{images}/{row['fname'][0]}", label, names[label])
                for row, label in zip(rows, labels, strict=True)
            ]

        train, val = split_trainval(read("cars_train", folder / "devkit" / "cars_train_annos.mat"), rng)
        return {
            "train": train,
            "val": val,
            "test": read("cars_test", folder / "cars_test_annos_withlabels.mat"),
        }
