"""Caltech-101 without its background and its easy faces: objects of 100 kinds (Fei-Fei et al., 2004)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive


@DATASET_REGISTRY.register()
class Caltech101(FewShotBenchmark):
    dataset_dir = "caltech-101"
    image_dir = "101_ObjectCategories"
    split_file = "split_zhou_Caltech101.json"
    example = "accordion/image_0001.jpg"
    published = Counts(100, 4128, 1649, 2465)
    ignored = ("BACKGROUND_Google", "Faces_easy")
    renamed = {
        "Faces": "face",
        "Leopards": "leopard",
        "Motorbikes": "motorbike",
        "airplanes": "airplane",
    }
    mirror = "caltech-101.zip"
    sources = (
        Source(
            ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
            {"101_ObjectCategories": "101_ObjectCategories"},
            inner="caltech-101/101_ObjectCategories.tar.gz",
        ),
        on_drive(
            "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN",
            "split_zhou_Caltech101.json",
            "52ce83205ff8ff8a1a18119aad6376120ae35c36e783a984bc560cbf10e73fa5",
        ),
    )
