"""Oxford Flowers: 102 kinds of flower (Nilsback & Zisserman, 2008)."""

import random
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import read_json
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive
from datasets.lists import read_mat
from datasets.split_file import Item, Split
from datasets.split_rules import by_label, split_in_three

_HOME = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"


@DATASET_REGISTRY.register()
class OxfordFlowers(FewShotBenchmark):
    dataset_dir = "oxford_flowers"
    template = "a photo of a {}, a type of flower."
    image_dir = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"
    example = "image_00001.jpg"
    published = Counts(102, 4093, 1633, 2463)
    mirror = "oxford_flowers.zip"
    sources = (
        Source((f"{_HOME}/102flowers.tgz",), {"jpg": "jpg"}, "md5:52808999861908f626f3c1f4e79d11fa"),
        Source(
            (f"{_HOME}/imagelabels.mat",), {"": "imagelabels.mat"}, "md5:e0620be6f572b9609742df49c70aed4d"
        ),
        on_drive(
            "1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0",
            "cat_to_name.json",
            "0469f1ad7fe0072d98155c49aa58649d998edbbe3326229003aa5f7228525236",
        ),
        on_drive(
            "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT",
            "split_zhou_OxfordFlowers.json",
            "2f50c42fc1a17ca13c271cb4269b1347bdb43d2be672e34f74a4e4cbfbcca794",
        ),
    )

    @classmethod
    def class_key(cls, path: str) -> str:
        return path  # tells nothing about its class

    @classmethod
    def make_split(cls, folder: Path, rng: random.Random) -> Split:
        names = read_json(str(folder / "cat_to_name.json"))
        labels = (int(label) for label in read_mat(folder / "imagelabels.mat", "labels"))
        items = [
            Item(f"image_{number:05d}.jpg", label - 1, names[str(label)])
            for number, label in enumerate(labels, 1)
        ]
        return split_in_three(by_label(items), rng)
