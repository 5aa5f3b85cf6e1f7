"""What only other people's scripts use of the settings."""

from __future__ import annotations

from yacs.config import CfgNode


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Remove the options of every trainer but ``trainer`` from ``cfg.TRAINER``."""
    for key in set(cfg.TRAINER) - {"NAME", trainer.upper()}:
        del cfg.TRAINER[key]
