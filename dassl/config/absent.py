"""Settings that a tree lacks: other projects bring trees of their own, made by no defaults of ours."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

from dassl.config.defaults import _C
from dassl.config.node import CfgNode

logger = logging.getLogger(__name__)


def complete(cfg: Any, group: str = "") -> None:
    """Give ``cfg`` each setting that it lacks, with its default, and log which.

    It is done in place and also where ``cfg`` is frozen: nothing that it says is changed.

    Args:
        cfg: a tree of settings; anything else is left alone.
        group: what ``cfg`` is of the whole tree, such as ``OPTIM``; empty for the whole.
    """
    absent: list[str] = []
    if isinstance(cfg, dict):
        _fill(cfg, _C[group] if group else _C, f"{group}." if group else "", absent)
    if absent:
        logger.info("Settings that are absent and have their defaults: %s", ", ".join(absent))


def _fill(cfg: dict[str, Any], known: CfgNode, prefix: str, absent: list[str]) -> None:
    for key, default in known.items():
        if key not in cfg:
            value = deepcopy(default)
            if isinstance(value, CfgNode) and isinstance(cfg, CfgNode) and cfg.is_frozen():
                value.freeze()
            cfg[key] = value
            absent.append(prefix + key)
        elif isinstance(default, CfgNode) and isinstance(cfg[key], dict):
            _fill(cfg[key], default, f"{prefix}{key}.", absent)
