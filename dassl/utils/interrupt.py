"""Ctrl-C that isn't lost: Python drops the exception where it strikes in a destructor or a hook of a fork."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

_pressed = False
_pid = 0  # of the program; its loading processes begin with its handler


def catch_interrupts() -> None:
    """Make SIGINT raise ``KeyboardInterrupt``, and `check_interrupt` do so where that one was dropped.

    For programs, in their main thread; a job in the background that ignores SIGINT goes on doing so.
    """
    global _pid
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _pid = os.getpid()
        signal.signal(signal.SIGINT, _press)
        sys.unraisablehook = _say_dropped


def check_interrupt() -> None:
    """Raise ``KeyboardInterrupt`` if SIGINT has come since `catch_interrupts`."""
    if _pressed:
        raise KeyboardInterrupt


def _press(*_: Any) -> None:
    global _pressed
    if os.getpid() != _pid:
        os._exit(130)  # without a word: the program says it
    _pressed = True
    raise KeyboardInterrupt


def _say_dropped(dropped: Any) -> None:
    if (
        not _pressed
    ):  # else what `check_interrupt` raises again, or loaders that complain as they are taken down
        sys.__unraisablehook__(dropped)
