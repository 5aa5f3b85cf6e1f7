"""The log of a run: what is logged or printed goes to the terminal and to ``log.txt``."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import IO, Any

from dassl.utils.files import mkdir_if_missing
from dassl.utils.progress import on_terminal

LOG_ONLY = {"log_only": True}  # ``extra`` of what is too long for the screen
PROGRESS_LOGGER = "dassl.progress"  # its lines go to the file only where a progress bar says the same


class Logger:
    """A text stream that writes to the terminal and to a file."""

    def __init__(self, fpath: str, console: IO[str] | None = None) -> None:
        self.console = sys.stdout if console is None else console
        mkdir_if_missing(os.path.dirname(os.path.abspath(fpath)))
        self.file = open(fpath, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as the run

    def write(self, text: str) -> int:
        self.console.write(text)
        self.file.write(text)
        return len(text)

    def flush(self) -> None:
        self.console.flush()
        if not self.file.closed:
            self.file.flush()

    def isatty(self) -> bool:
        return self.console.isatty()

    def close(self) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)


class StdoutHandler(logging.Handler):
    """Logs to whatever ``sys.stdout`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        stream: Any = sys.stdout
        shown = record.name == PROGRESS_LOGGER and on_terminal()
        if (shown or getattr(record, "log_only", False)) and isinstance(stream, Logger):
            stream = stream.file
        stream.write(self.format(record) + "\n")


def setup_logger(output: str | None = None, earlier: str = "") -> None:
    """Send what is printed or logged to the terminal and to ``output``, a file or a folder for ``log.txt``.

    An existing log is kept: the time of its last line is appended to its name.

    Args:
        earlier: what was logged before there was a file; its first lines.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        # Such a handler (of logging.basicConfig) would write every line to the terminal once more.
        if type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.__stdout__):
            root.removeHandler(handler)
    if not any(isinstance(handler, StdoutHandler) for handler in root.handlers):
        root.addHandler(StdoutHandler())
        root.setLevel(logging.INFO)
    if output is None:
        return

    fpath = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    console = None
    if isinstance(sys.stdout, Logger):
        console = sys.stdout.console
        sys.stdout.close()
    _set_aside(fpath)
    sys.stdout = Logger(fpath, console)
    sys.stdout.file.write(earlier)


def _set_aside(fpath: str) -> None:
    if not os.path.exists(fpath):
        return
    old = fpath + time.strftime("-%Y-%m-%d-%H-%M-%S", time.localtime(os.path.getmtime(fpath)))
    number, target = 1, old
    while os.path.exists(target):
        number += 1
        target = f"{old}-{number}"
    os.rename(fpath, target)
