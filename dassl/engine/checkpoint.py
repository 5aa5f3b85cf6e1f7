"""Where the checkpoints of a run lie: ``<output-dir>/<model name>/model.pth.tar-<epoch>``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from dassl.utils import load_checkpoint, write_checkpoint

PREFIX = "model.pth.tar-"
BEST = "model-best.pth.tar"


def add_to_checkpoint(path: str | Path, **entries: Any) -> None:
    """Write a checkpoint anew with further entries: tensors and plain values."""
    write_checkpoint({**load_checkpoint(str(path)), **entries}, str(path))


def find_checkpoint(directory: str | Path, name: str, epoch: int | None = None, setting: str = "") -> Path:
    """The checkpoint of the model ``name`` of the run in ``directory``.

    Args:
        epoch: number of epochs behind it; -1 for the last there is, None for ``model-best.pth.tar``.
        setting: what ``directory`` comes from, for the message.

    Raises:
        FileNotFoundError: it does not exist; the message lists what does.
    """
    folder = Path(directory) / name
    names = os.listdir(folder) if folder.is_dir() else []
    epochs = sorted(int(n.removeprefix(PREFIX)) for n in names if re.fullmatch(re.escape(PREFIX) + r"\d+", n))
    if epoch == -1 and epochs:
        epoch = epochs[-1]
    file_name = BEST if epoch is None else f"{PREFIX}{epoch}"
    if file_name in names:
        return folder / file_name

    wanted = "checkpoint of any epoch" if epoch == -1 else file_name
    wanted = f"{setting} is {str(directory)!r}, but there is no {wanted}" if setting else f"No {wanted}"
    if not folder.is_dir():
        raise FileNotFoundError(f"{wanted} in {str(folder)!r}: there is no such folder")
    listed = ", ".join(map(str, epochs)) or "none"
    best = "there is" if BEST in names else "there is no"
    raise FileNotFoundError(f"{wanted} in {str(folder)!r}. Epochs there: {listed}; {best} {BEST}")
