"""Settings that many trainers do without: whoever changes one is told that it does nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from dassl.config import CfgNode, get_cfg_default
from dassl.config.node import flatten
from dassl.data.datasets import DATASET_REGISTRY

logger = logging.getLogger(__name__)

# Settings or groups of them that a trainer has no use for, unless it says so.
OPTIONAL = (
    "MODEL.HEAD.",
    "MODEL.BACKBONE.PRETRAINED",
    "DATASET.TEMPLATE",
    "DATASET.NUM_LABELED",
    "DATASET.VAL_PERCENT",
    "DATASET.ALL_AS_UNLABELED",
    "DATASET.STL10_FOLD",
    "DATASET.CIFAR_C_",
    "DATALOADER.RETURN_IMG0",
    "DATALOADER.TRAIN_U.",
    "TRAIN.COUNT_ITER",
)
_OF_DOMAINS = ("DATASET.SOURCE_DOMAINS", "DATASET.TARGET_DOMAINS")
_OF_SAMPLERS = {
    "DATALOADER.TRAIN_X.N_DOMAIN": "DomainSampler",
    "DATALOADER.TRAIN_X.N_INS": "RandomClassSampler",
}

# Settings, or how they begin, and what they need of another one.
_NEEDED: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("INPUT.CROP_PADDING", "INPUT.TRANSFORMS", lambda v: "random_crop" in v),
    ("INPUT.RRCROP_SCALE", "INPUT.TRANSFORMS", lambda v: "random_resized_crop" in v),
    ("INPUT.CUTOUT_", "INPUT.TRANSFORMS", lambda v: "cutout" in v),
    ("INPUT.GN_", "INPUT.TRANSFORMS", lambda v: "gaussian_noise" in v),
    ("INPUT.RANDAUGMENT_N", "INPUT.TRANSFORMS", lambda v: any("randaugment" in name for name in v)),
    ("INPUT.RANDAUGMENT_M", "INPUT.TRANSFORMS", lambda v: "randaugment" in v),
    ("INPUT.COLORJITTER_", "INPUT.TRANSFORMS", lambda v: "colorjitter" in v),
    ("INPUT.RGS_P", "INPUT.TRANSFORMS", lambda v: "randomgrayscale" in v),
    ("INPUT.GB_", "INPUT.TRANSFORMS", lambda v: "gaussian_blur" in v),
    ("OPTIM.MOMENTUM", "OPTIM.NAME", lambda v: v in ("sgd", "rmsprop")),
    ("OPTIM.SGD_DAMPNING", "OPTIM.NAME", lambda v: v == "sgd"),
    ("OPTIM.RMSPROP_", "OPTIM.NAME", lambda v: v == "rmsprop"),
    ("OPTIM.ADAM_", "OPTIM.NAME", lambda v: "adam" in v or v == "amsgrad"),
    ("OPTIM.BASE_LR_MULT", "OPTIM.STAGED_LR", bool),
    ("OPTIM.GAMMA", "OPTIM.LR_SCHEDULER", lambda v: v != "cosine"),
    ("OPTIM.WARMUP_TYPE", "OPTIM.WARMUP_EPOCH", lambda v: v > 0),
    ("OPTIM.WARMUP_CONS_LR", "OPTIM.WARMUP_TYPE", lambda v: v == "constant"),
    ("OPTIM.WARMUP_MIN_LR", "OPTIM.WARMUP_TYPE", lambda v: v == "linear"),
    ("TEST.FINAL_MODEL", "TEST.NO_TEST", lambda v: not v),
)


def warn_of_idle_settings(cfg: CfgNode, used: Collection[str]) -> None:
    """Warn of settings that differ from their defaults and have no effect.

    Args:
        used: those of `OPTIONAL` that the trainer reads.
    """
    if cfg.OPTIM.WARMUP_EPOCH > cfg.OPTIM.MAX_EPOCH:
        logger.warning("OPTIM.LR_SCHEDULER has no effect: OPTIM.WARMUP_EPOCH is above OPTIM.MAX_EPOCH")
    ours = dict(flatten(cfg))
    defaults = dict(flatten(get_cfg_default(for_others=False)))
    changed = [key for key, value in defaults.items() if _plain(ours.get(key)) != _plain(value)]
    for key in changed:
        if any(key.startswith(name) and name not in used for name in OPTIONAL):
            logger.warning("%s has no effect on %s", key, cfg.TRAINER.NAME)
        elif need := _unmet(key, ours):
            logger.warning("%s has no effect with %s %s", key, need, ours[need])
        elif key in _OF_DOMAINS and not _has_domains(cfg.DATASET.NAME):
            logger.warning("%s has no effect on %s, which has no domains", key, cfg.DATASET.NAME)
        elif key in _OF_SAMPLERS and not cfg.DATALOADER.TRAIN_X.SAMPLER.endswith(_OF_SAMPLERS[key]):
            logger.warning("%s has no effect on the sampler %s", key, cfg.DATALOADER.TRAIN_X.SAMPLER)


def _unmet(key: str, settings: Mapping[str, Any]) -> str:
    """The setting that keeps ``key`` from having an effect; "" for none."""
    for start, need, allows in _NEEDED:
        if key.startswith(start) and not allows(settings[need]):
            return need
    return ""


def _has_domains(dataset: str) -> bool:
    return dataset in DATASET_REGISTRY and bool(getattr(DATASET_REGISTRY.get(dataset), "domains", ()))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
