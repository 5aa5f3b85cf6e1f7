"""Names of parameters."""

from __future__ import annotations

import re


def plain_name(name: str) -> str:
    """The name that a parameter or buffer had before ``torch.nn.utils.parametrize``; any other as it is.

    ``a.parametrizations.weight.original`` was ``a.weight``.
    """
    return re.sub(r"(^|\.)parametrizations\.([^.]+)\.original\d*$", r"\1\2", name)
