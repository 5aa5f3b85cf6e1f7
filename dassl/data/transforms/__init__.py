"""Image transforms."""

from dassl.data.transforms.augment import Compose, accepts_generator, is_fixed, seedable
from dassl.data.transforms.transforms import AVAI_CHOICES, INTERPOLATION_MODES, build_transform

__all__ = [
    "AVAI_CHOICES",
    "INTERPOLATION_MODES",
    "Compose",
    "accepts_generator",
    "build_transform",
    "is_fixed",
    "seedable",
]
