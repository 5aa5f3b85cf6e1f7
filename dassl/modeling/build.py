"""Networks by name."""

from __future__ import annotations

import logging
from typing import Any

from dassl.utils.registry import Registry

logger = logging.getLogger(__name__)


def build(registry: Registry, kind: str, name: str, verbose: bool, options: dict[str, Any]) -> Any:
    """What is registered as ``name``, called with ``options``.

    Raises:
        ValueError: nothing is; says how to register it.
    """
    try:
        factory = registry.get(name)
    except ValueError as error:
        raise ValueError(
            f"{error}. A {kind.lower()} that this engine lacks is registered by the project that uses it: "
            f"@{kind.upper()}_REGISTRY.register() of dassl.modeling before a function that returns it"
        ) from error
    if verbose:
        logger.info("%s: %s", kind, name)
    return factory(**options)
