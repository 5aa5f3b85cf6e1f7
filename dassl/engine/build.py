"""Trainers by name."""

from __future__ import annotations

import logging
from typing import Any

from dassl.config import CfgNode
from dassl.utils.registry import Registry

logger = logging.getLogger(__name__)

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg: CfgNode) -> Any:
    """The trainer ``cfg.TRAINER.NAME``.

    Raises:
        ValueError: no trainer of that name is registered.
    """
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME, "TRAINER.NAME")
    if cfg.VERBOSE:
        logger.info("Loading trainer %s", cfg.TRAINER.NAME)
    return trainer(cfg)
