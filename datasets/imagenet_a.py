"""ImageNet-A: photographs of 200 of ImageNet's classes that fool its classifiers (Hendrycks et al., 2021)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts
from datasets.fetch.sources import Source
from datasets.imagenet_shift import CLASSNAMES, ImageNetShift


@DATASET_REGISTRY.register()
class ImageNetA(ImageNetShift):
    dataset_dir = "imagenet-adversarial"
    image_dir = "imagenet-a"
    example = "n01498041/"
    published = Counts(200, 0, 0, 7500)
    whole = False
    mirror = "imagenet-adversarial.zip"
    sources = (
        Source(("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",), {"imagenet-a": "imagenet-a"}),
        CLASSNAMES,
    )
