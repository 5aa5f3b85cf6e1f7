"""From ``cfg.INPUT`` to one transform."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from dassl.config import CfgNode, complete
from dassl.config.allowed import TRANSFORMS
from dassl.data.transforms import augment as T
from dassl.data.transforms import functional as F
from dassl.data.transforms.autoaugment import CIFAR10Policy, ImageNetPolicy, SVHNPolicy
from dassl.data.transforms.functional import INTERPOLATION_MODES
from dassl.data.transforms.randaugment import RandAugment, RandAugment2, RandAugmentFixMatch
from dassl.utils.registry import check_availability

__all__ = ["AVAI_CHOICES", "INTERPOLATION_MODES", "build_transform"]

logger = logging.getLogger(__name__)

AVAI_CHOICES = list(TRANSFORMS)


def build_transform(
    cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None
) -> T.Compose | None:
    """The transform from a Pillow RGB image to float32 [3, H, W] with (H, W) = ``cfg.INPUT.SIZE``.

    None with ``INPUT.NO_TRANSFORM``.

    Args:
        cfg: the whole configuration.
        is_train: with augmentation; else smaller edge to ``max(INPUT.SIZE)``, then the central crop.
        choices: names of ``AVAI_CHOICES`` in any order, instead of ``cfg.INPUT.TRANSFORMS``.

    Raises:
        ValueError: a choice or the interpolation is unknown.
    """
    complete(cfg)
    if cfg.INPUT.NO_TRANSFORM:
        logger.info("No transform (INPUT.NO_TRANSFORM)")
        return None
    choices = cfg.INPUT.TRANSFORMS if choices is None else choices
    if isinstance(choices, str):
        raise ValueError(f"INPUT.TRANSFORMS must be a list of names, got the text {choices!r}")
    for choice in choices:
        check_availability(choice, AVAI_CHOICES)
    check_availability(cfg.INPUT.INTERPOLATION, INTERPOLATION_MODES)
    if is_train and "center_crop" in choices:
        logger.warning("INPUT.TRANSFORMS center_crop has no effect on training images")

    steps = _train_steps(cfg.INPUT, choices) if is_train else _test_steps(cfg.INPUT, choices)
    transform = T.Compose(steps)
    logger.info("%s transform: %r", "Train" if is_train else "Test", transform)
    return transform


def _test_steps(options: CfgNode, choices: Sequence[str]) -> list[Callable[..., Any]]:
    size, interpolation = options.SIZE, INTERPOLATION_MODES[options.INTERPOLATION]
    return [
        T.Plain(F.resize_smaller_edge, max(size), interpolation),
        T.Plain(F.center_crop, size),
        T.Plain(F.to_tensor),
        *_final_steps(options, choices),
    ]


def _final_steps(options: CfgNode, choices: Sequence[str]) -> list[Callable[..., Any]]:
    steps: list[Callable[..., Any]] = []
    if "normalize" in choices:
        steps.append(T.Plain(F.normalize, options.PIXEL_MEAN, options.PIXEL_STD))
    if "instance_norm" in choices:
        steps.append(T.Plain(F.instance_normalize))
    return steps


def _train_steps(options: CfgNode, choices: Sequence[str]) -> list[Callable[..., Any]]:
    size, interpolation = options.SIZE, INTERPOLATION_MODES[options.INTERPOLATION]
    steps: list[Callable[..., Any]] = []
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.append(T.Plain(F.resize, size, interpolation))
    if "random_translation" in choices:
        steps.append(T.Random2DTranslation(size))
    if "random_crop" in choices:
        steps.append(T.RandomCrop(size, options.CROP_PADDING))
    if "random_resized_crop" in choices:
        steps.append(T.RandomResizedCrop(size, options.RRCROP_SCALE, interpolation=interpolation))
    if "random_flip" in choices:
        steps.append(T.RandomHorizontalFlip())
    steps += _policies(options, choices)
    if "colorjitter" in choices:
        o = options
        steps.append(T.ColorJitter(o.COLORJITTER_B, o.COLORJITTER_C, o.COLORJITTER_S, o.COLORJITTER_H))
    if "randomgrayscale" in choices:
        steps.append(T.RandomGrayscale(options.RGS_P))
    if "gaussian_blur" in choices:
        steps.append(T.RandomGaussianBlur(options.GB_K, options.GB_P))
    steps.append(T.Plain(F.to_tensor))
    if "cutout" in choices:
        steps.append(T.Cutout(options.CUTOUT_N, options.CUTOUT_LEN))
    final = _final_steps(options, choices)
    if "gaussian_noise" in choices:  # between normalize and instance_norm
        final.insert(int("normalize" in choices), T.GaussianNoise(options.GN_MEAN, options.GN_STD))
    return steps + final


def _policies(options: CfgNode, choices: Sequence[str]) -> list[Callable[..., Any]]:
    policies: dict[str, Callable[[], Callable[..., Any]]] = {
        "imagenet_policy": ImageNetPolicy,
        "cifar10_policy": CIFAR10Policy,
        "svhn_policy": SVHNPolicy,
        "randaugment": lambda: RandAugment(options.RANDAUGMENT_N, options.RANDAUGMENT_M),
        "randaugment_fixmatch": lambda: RandAugmentFixMatch(options.RANDAUGMENT_N),
        "randaugment2": lambda: RandAugment2(options.RANDAUGMENT_N),
    }
    return [build() for name, build in policies.items() if name in choices]
