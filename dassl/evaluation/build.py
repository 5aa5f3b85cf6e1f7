"""Evaluators by name."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from dassl.config import complete
from dassl.utils.registry import Registry

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: CfgNode, **kwargs: Any) -> Any:
    """The evaluator ``cfg.TEST.EVALUATOR``, created with ``cfg`` and ``kwargs``."""
    complete(cfg)
    return EVALUATOR_REGISTRY.get(cfg.TEST.EVALUATOR)(cfg, **kwargs)
