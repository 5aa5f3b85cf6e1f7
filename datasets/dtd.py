"""Describable Textures (DTD): 47 kinds of texture (Cimpoi et al., 2014)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive


@DATASET_REGISTRY.register()
class DescribableTextures(FewShotBenchmark):
    dataset_dir = "dtd"
    template = "{} texture."
    image_dir = "images"
    split_file = "split_zhou_DescribableTextures.json"
    example = "banded/banded_0002.jpg"
    published = Counts(47, 2820, 1128, 1692)
    mirror = "dtd.zip"
    sources = (
        Source(
            ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
            {"dtd/images": "images"},
            "md5:fff73e5086ae6bdbea199a49dfb8a4c1",
        ),
        on_drive(
            "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x",
            "split_zhou_DescribableTextures.json",
            "f26ebeccd2b58e68d70f07a0dc39fe49bf7b69024bac34396b954dfd87969c38",
        ),
    )
