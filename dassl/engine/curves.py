"""Curves of a run for whoever draws them: TensorBoard, Weights & Biases or trackio, optional packages all.

``results.jsonl`` and the log have the same numbers; nothing here is read again.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

from dassl.config import CfgNode
from dassl.config.node import flatten

PROJECT = "dpc"  # under which Weights & Biases and trackio file a run


def curve_logger(cfg: CfgNode) -> str:
    """The package that ``cfg`` asks for, "" for none.

    Raises:
        ValueError: it is not installed, or there are two.
    """
    name = cfg.TRAIN.LOGGER
    setting = f"LOGGER is {name!r}"
    if name == "none":
        name, setting = ("tensorboard", "TENSORBOARD is True") if cfg.TRAIN.TENSORBOARD else ("", "")
    elif cfg.TRAIN.TENSORBOARD and name != "tensorboard":
        raise ValueError(f"TRAIN.{setting} and TRAIN.TENSORBOARD is True: the curves go to one of them")
    if name and importlib.util.find_spec(name) is None:
        raise ValueError(f"TRAIN.{setting}, but the package {name} is not installed: pip install {name}")
    return name


class Tracker:
    """A run of Weights & Biases or of trackio, with the interface of a ``SummaryWriter``.

    Nothing leaves the machine by itself: Weights & Biases is offline unless ``WANDB_MODE`` says otherwise,
    trackio writes to ``TRACKIO_DIR``, by default ``trackio`` in the run's folder.
    """

    def __init__(self, name: str, cfg: CfgNode) -> None:
        folder = os.path.abspath(cfg.OUTPUT_DIR)
        options: dict[str, Any] = {"project": PROJECT, "config": dict(flatten(cfg))}
        if name == "wandb":
            options |= {"dir": folder, "mode": os.environ.get("WANDB_MODE", "offline")}
        else:
            # read when the package is imported
            os.environ.setdefault("TRACKIO_DIR", os.path.join(folder, name))
        self._package = importlib.import_module(name)
        self._package.init(name="-".join(cfg.OUTPUT_DIR.strip("/").split("/")[-4:]), **options)

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        # training counts steps and evaluation epochs, so each group has an axis of its own
        group = tag.partition("/")[0]
        self._package.log({tag: float(scalar_value), f"{group}/step": global_step})

    def close(self) -> None:
        self._package.finish()
