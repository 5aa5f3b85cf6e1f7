"""Data sets by name."""

from __future__ import annotations

import logging
from typing import Any

from dassl.config import CfgNode
from dassl.data.datasets.base_dataset import DatasetBase
from dassl.utils.registry import Registry

logger = logging.getLogger(__name__)

DATASET_REGISTRY = Registry("DATASET")


def options_of_datasets() -> dict[str, Any]:
    """What data sets have as their ``OPTIONS``: settings below ``DATASET`` by full name, with defaults."""
    classes = [DATASET_REGISTRY.get(name) for name in DATASET_REGISTRY.registered_names()]
    options = [getattr(cls, "OPTIONS", {}).items() for cls in classes]
    return {f"DATASET.{key}": default for items in options for key, default in items}


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """The data set ``cfg.DATASET.NAME``.

    Raises:
        ValueError: no data set of that name is registered.
    """
    dataset = DATASET_REGISTRY.get(cfg.DATASET.NAME, "DATASET.NAME")
    if cfg.VERBOSE:
        logger.info("Loading data set %s", cfg.DATASET.NAME)
    return dataset(cfg)
