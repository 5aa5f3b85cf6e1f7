"""Progress bars on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from dassl.utils.processes import is_main


def on_terminal() -> bool:
    """Whether someone watches: standard error is a terminal, and no other process of the run writes there."""
    return is_main() and sys.stderr is not None and sys.stderr.isatty()


def progress(description: str, total: int) -> tqdm[Any]:
    """A progress bar with the remaining time, invisible when no terminal shows it."""
    return tqdm(
        total=total, desc=description, leave=False, dynamic_ncols=True, disable=not on_terminal(),
        bar_format="{desc} {remaining} left {n_fmt}/{total_fmt} |{bar:10}|{postfix}",
    )  # fmt: skip
