"""The benchmark's data sets; importing this package registers them."""

from dassl.config import CfgNode as CN
from dassl.config import allow
from dassl.data.datasets import DATASET_REGISTRY
from datasets.caltech101 import Caltech101
from datasets.digits import Digits
from datasets.dtd import DescribableTextures
from datasets.eurosat import EuroSAT
from datasets.fgvc_aircraft import FGVCAircraft
from datasets.folder import Folder
from datasets.food101 import Food101
from datasets.imagenet import ImageNet
from datasets.imagenet_a import ImageNetA
from datasets.imagenet_r import ImageNetR
from datasets.imagenet_sketch import ImageNetSketch
from datasets.imagenetv2 import ImageNetV2
from datasets.letters import Letters
from datasets.oxford_flowers import OxfordFlowers
from datasets.oxford_pets import OxfordPets
from datasets.stanford_cars import StanfordCars
from datasets.sun397 import SUN397
from datasets.ucf101 import UCF101

__all__ = [
    "SUN397",
    "UCF101",
    "Caltech101",
    "DescribableTextures",
    "Digits",
    "EuroSAT",
    "FGVCAircraft",
    "Folder",
    "Food101",
    "ImageNet",
    "ImageNetA",
    "ImageNetR",
    "ImageNetSketch",
    "ImageNetV2",
    "Letters",
    "OxfordFlowers",
    "OxfordPets",
    "StanfordCars",
    "extend_cfg",
]


def extend_cfg(cfg: CN) -> None:
    """Add the options of every data set of this package to ``cfg.DATASET``, and say what they may be."""
    for name in DATASET_REGISTRY.registered_names():
        dataset = DATASET_REGISTRY.get(name)
        cfg.DATASET.update(getattr(dataset, "OPTIONS", CN()).clone())
        allow({f"DATASET.{key}": rule for key, rule in getattr(dataset, "ALLOWED", {}).items()})
