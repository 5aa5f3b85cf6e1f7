"""ImageNet-R: art, toys and other renditions of 200 of ImageNet's classes (Hendrycks et al., 2021)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts
from datasets.fetch.sources import Source
from datasets.imagenet_shift import CLASSNAMES, ImageNetShift


@DATASET_REGISTRY.register()
class ImageNetR(ImageNetShift):
    dataset_dir = "imagenet-rendition"
    image_dir = "imagenet-r"
    published = Counts(200, 0, 0, 30000)
    whole = False
    mirror = "imagenet-rendition.zip"
    sources = (
        Source(("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",), {"imagenet-r": "imagenet-r"}),
        CLASSNAMES,
    )
