"""ImageNet-Sketch: black-and-white drawings of ImageNet's classes (Wang et al., 2019)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts
from datasets.fetch.sources import Source, drive
from datasets.imagenet_shift import CLASSNAMES, ImageNetShift


@DATASET_REGISTRY.register()
class ImageNetSketch(ImageNetShift):
    dataset_dir = "imagenet-sketch"
    image_dir = "images"
    published = Counts(1000, 0, 0, 50889)
    origin = "described at https://github.com/HaohanWang/ImageNet-Sketch"
    mirror = "imagenet-sketch.zip"
    sources = (Source((drive("1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA"),), {"sketch": "images"}), CLASSNAMES)
