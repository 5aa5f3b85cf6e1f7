"""ImageNetV2, matched frequency: ImageNet's test set collected once more (Recht et al., 2019)."""

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts
from datasets.class_folders import check_folders
from datasets.fetch.sources import Source
from datasets.imagenet_shift import CLASSNAMES, ImageNetShift

_ARCHIVE = "imagenetv2-matched-frequency.tar.gz"


@DATASET_REGISTRY.register()
class ImageNetV2(ImageNetShift):
    dataset_dir = "imagenetv2"
    image_dir = "imagenetv2-matched-frequency-format-val"
    example = "0/"
    published = Counts(1000, 0, 0, 10000)
    mirror = "imagenetv2.zip"
    sources = (
        Source(
            (
                f"https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/{_ARCHIVE}",
                f"https://s3-us-west-2.amazonaws.com/imagenetv2public/{_ARCHIVE}",
            ),
            {image_dir: image_dir},
        ),
        CLASSNAMES,
    )

    @classmethod
    def classes(cls, found: list[str], names: dict[str, str], images: Path, source: Path) -> dict[str, str]:
        """Folders are numbered in the order of classnames.txt."""
        numbered = {str(label): name for label, name in enumerate(names.values())}
        check_folders(images, found, numbered, source)
        return numbered
