"""Settings that many trainers do without: whoever changes one is told that it does nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection

from yacs.config import CfgNode

from dassl.config import get_cfg_default
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


def warn_of_idle_settings(cfg: CfgNode, used: Collection[str]) -> None:
    """Warn of settings that differ from their defaults and have no effect.

    Args:
        used: those of `OPTIONAL` that the trainer reads.
    """
    ours = dict(flatten(cfg))
    defaults = dict(flatten(get_cfg_default(for_others=False)))
    changed = [key for key, value in defaults.items() if _plain(ours.get(key)) != _plain(value)]
    for key in changed:
        if any(key.startswith(name) and name not in used for name in OPTIONAL):
            logger.warning("%s has no effect on %s", key, cfg.TRAINER.NAME)
        elif key in _OF_DOMAINS and not _has_domains(cfg.DATASET.NAME):
            logger.warning("%s has no effect on %s, which has no domains", key, cfg.DATASET.NAME)
        elif key in _OF_SAMPLERS and not cfg.DATALOADER.TRAIN_X.SAMPLER.endswith(_OF_SAMPLERS[key]):
            logger.warning("%s has no effect on the sampler %s", key, cfg.DATALOADER.TRAIN_X.SAMPLER)


def _has_domains(dataset: str) -> bool:
    return dataset in DATASET_REGISTRY and bool(getattr(DATASET_REGISTRY.get(dataset), "domains", ()))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
