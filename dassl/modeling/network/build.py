"""Whole networks by name."""

from __future__ import annotations

from typing import Any

from dassl.modeling.build import build
from dassl.utils.registry import Registry

NETWORK_REGISTRY = Registry("NETWORK")


def build_network(name: str, verbose: bool = True, **kwargs: Any) -> Any:
    """The network registered as ``name``; ValueError where there is none."""
    return build(NETWORK_REGISTRY, "Network", name, verbose, kwargs)
