"""UCF101: the middle frames of videos of 101 actions (Soomro et al., 2012)."""

import random
import re
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, drive, on_drive
from datasets.lists import read_items, read_lines
from datasets.split_file import Item, Split
from datasets.split_rules import split_trainval


def action_name(action: str) -> str:
    """ "ApplyEyeMakeup" -> "Apply_Eye_Makeup"."""
    return "_".join(re.findall("[A-Z][^A-Z]*", action))


@DATASET_REGISTRY.register()
class UCF101(FewShotBenchmark):
    dataset_dir = "ucf101"
    template = "a photo of a person doing {}."
    image_dir = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"
    example = "Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg"
    published = Counts(101, 7639, 1898, 3783)
    mirror = "ucf101.zip"
    sources = (
        Source((drive("10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O"),), {"UCF-101-midframes": "UCF-101-midframes"}),
        on_drive(
            "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y",
            "split_zhou_UCF101.json",
            "d78cb834f7c5792ceaff2c5ee2d7c76a9e4086e48a3a6b01232989d29cbefdd8",
        ),
    )

    @classmethod
    def make_split(cls, folder: Path, rng: random.Random) -> Split:
        lists = folder / "ucfTrainTestlist"
        numbered = (line.split(" ") for line in read_lines(lists / "classInd.txt"))
        labels = {action: int(number) - 1 for number, action in numbered}

        def parse(line: str) -> Item:
            action, video = line.split(" ")[0].split("/")
            name = action_name(action)
            return Item(f"{name}/{video.replace('.avi', '.jpg')}", labels[action], name)

        train, val = split_trainval(read_items(lists / "trainlist01.txt", parse), rng)
        return {"train": train, "val": val, "test": read_items(lists / "testlist01.txt", parse)}
