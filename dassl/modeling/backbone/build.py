"""Backbones by name."""

from __future__ import annotations

from typing import Any

from dassl.modeling.build import build
from dassl.utils.registry import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")


def build_backbone(name: str, verbose: bool = True, **kwargs: Any) -> Any:
    """The backbone registered as ``name``; ValueError where there is none."""
    return build(BACKBONE_REGISTRY, "Backbone", name, verbose, kwargs)
