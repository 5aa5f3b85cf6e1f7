"""Ctrl-C that isn't lost: Python drops the exception where it strikes in a destructor or a hook of a fork."""

from __future__ import annotations

import signal
import sys
from typing import Any

_pressed = False


def catch_interrupts() -> None:
    """Make SIGINT raise ``KeyboardInterrupt``, and `check_interrupt` do so where that one was dropped.

    For programs, in their main thread; a job in the background that ignores SIGINT goes on doing so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _press)
        sys.unraisablehook = _say_dropped


def check_interrupt() -> None:
    """Raise ``KeyboardInterrupt`` if SIGINT has come since `catch_interrupts`."""
    if _pressed:
        raise KeyboardInterrupt


def _press(*_: Any) -> None:
    global _pressed
    _pressed = True
    raise KeyboardInterrupt


def _say_dropped(dropped: Any) -> None:
    if not issubclass(dropped.exc_type, KeyboardInterrupt):  # which check_interrupt raises again
        sys.__unraisablehook__(dropped)
