"""FGVC-Aircraft: 100 variants of aircraft (Maji et al., 2013)."""

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source
from datasets.lists import read_items, read_lines
from datasets.split_file import PARTS, Item, Split, check_images, check_split

_LISTS = {part: f"images_variant_{part}.txt" for part in PARTS}
_ARCHIVE = "fgvc-aircraft-2013b/data"


@DATASET_REGISTRY.register()
class FGVCAircraft(FewShotBenchmark):
    dataset_dir = "fgvc_aircraft"
    template = "a photo of a {}, a type of aircraft."
    image_dir = "images"
    lists = ("variants.txt", *_LISTS.values())
    example = "0034309.jpg"
    published = Counts(100, 3334, 3333, 3333)
    mirror = "fgvc_aircraft.zip"
    sources = (
        Source(
            ("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
            {f"{_ARCHIVE}/{name}": name for name in (image_dir, *lists)},
        ),
    )

    @classmethod
    def folder_in(cls, root: Path) -> Path:
        """The folder of upstream's layout, or its ``data`` folder where the archive was unpacked as it is."""
        folder = root / cls.dataset_dir
        unpacked = folder / "data"
        return unpacked if unpacked.is_dir() and not (folder / cls.image_dir).exists() else folder

    @classmethod
    def read(cls, folder: Path) -> Split:
        labels = {name: label for label, name in enumerate(read_lines(folder / "variants.txt"))}

        def parse(line: str) -> Item:
            image, _, variant = line.partition(" ")
            return Item(f"{image}.jpg", labels[variant], variant)

        split = {part: read_items(folder / name, parse) for part, name in _LISTS.items()}
        source = folder / "images_variant_*.txt"
        check_split(split, source)
        check_images(split, cls.image_root(folder), source)
        return split
