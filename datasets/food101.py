"""Food-101: photographs of 101 dishes (Bossard et al., 2014)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive


@DATASET_REGISTRY.register()
class Food101(FewShotBenchmark):
    dataset_dir = "food-101"
    template = "a photo of {}, a type of food."
    image_dir = "images"
    split_file = "split_zhou_Food101.json"
    example = "apple_pie/1005649.jpg"
    published = Counts(101, 50500, 20200, 30300)
    mirror = "food101.zip"
    sources = (
        Source(
            ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
            {"food-101/images": "images"},
            "md5:85eeb15f3717b99a5da872d97d918f87",
        ),
        on_drive("1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl", "split_zhou_Food101.json"),
    )
