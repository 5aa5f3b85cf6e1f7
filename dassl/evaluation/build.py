"""Evaluators by name."""

from __future__ import annotations

from typing import Any

from dassl.config import CfgNode, complete
from dassl.utils.registry import Registry

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: CfgNode, **kwargs: Any) -> Any:
    """The evaluator ``cfg.TEST.EVALUATOR``, created with ``cfg`` and ``kwargs``."""
    complete(cfg)
    return EVALUATOR_REGISTRY.get(cfg.TEST.EVALUATOR, "TEST.EVALUATOR")(cfg, **kwargs)
