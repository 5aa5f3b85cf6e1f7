"""Heads by name."""

from __future__ import annotations

from typing import Any

from dassl.modeling.build import build
from dassl.utils.registry import Registry

HEAD_REGISTRY = Registry("HEAD")


def build_head(name: str, verbose: bool = True, **kwargs: Any) -> Any:
    """The head registered as ``name``; ValueError where there is none."""
    return build(HEAD_REGISTRY, "Head", name, verbose, kwargs)
