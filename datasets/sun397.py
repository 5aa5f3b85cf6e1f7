"""SUN397: 397 kinds of scene (Xiao et al., 2010)."""

import random
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive
from datasets.lists import read_items, read_lines
from datasets.split_file import Item, Split
from datasets.split_rules import split_trainval


def scene_name(folder: str) -> str:
    """ "a/apse/indoor" -> "indoor apse"."""
    return " ".join(reversed(folder.split("/")[1:]))


@DATASET_REGISTRY.register()
class SUN397(FewShotBenchmark):
    dataset_dir = "sun397"
    image_dir = "SUN397"
    split_file = "split_zhou_SUN397.json"
    example = "a/abbey/sun_aaalbzqrimafwbiv.jpg"
    published = Counts(397, 15880, 3970, 19850)
    mirror = "sun397.zip"
    sources = (
        Source(
            ("http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",),
            {"SUN397": "SUN397"},
            "md5:8ca2778205c41d23104230ba66911c7a",
        ),
        on_drive("1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq", "split_zhou_SUN397.json"),
    )

    @classmethod
    def make_split(cls, folder: Path, rng: random.Random) -> Split:
        # All lines begin with a slash.
        labels = {name[1:]: label for label, name in enumerate(read_lines(folder / "ClassName.txt"))}

        def parse(line: str) -> Item:
            path = line[1:]
            scene = path.rpartition("/")[0]
            return Item(path, labels[scene], scene_name(scene))

        train, val = split_trainval(read_items(folder / "Training_01.txt", parse), rng)
        return {"train": train, "val": val, "test": read_items(folder / "Testing_01.txt", parse)}
