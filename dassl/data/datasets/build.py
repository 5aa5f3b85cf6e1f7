"""Data sets by name."""

from __future__ import annotations

import logging

from yacs.config import CfgNode

from dassl.data.datasets.base_dataset import DatasetBase
from dassl.utils.registry import Registry

logger = logging.getLogger(__name__)

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """The data set ``cfg.DATASET.NAME``.

    Raises:
        ValueError: no data set of that name is registered.
    """
    dataset = DATASET_REGISTRY.get(cfg.DATASET.NAME)
    if cfg.VERBOSE:
        logger.info("Loading data set %s", cfg.DATASET.NAME)
    return dataset(cfg)
