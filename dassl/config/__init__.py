"""Settings of a run: ``get_cfg_default()`` gives a fresh tree to merge files and options into."""

from yacs.config import CfgNode

from dassl.config.defaults import _C
from dassl.config.node import Config, config_hash, relevant_settings

__all__ = ["Config", "clean_cfg", "config_hash", "get_cfg_default", "relevant_settings"]


def get_cfg_default() -> Config:
    """A fresh copy of the default settings."""
    return _C.clone()


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Remove the options of every trainer but ``trainer`` from ``cfg.TRAINER``."""
    for key in set(cfg.TRAINER) - {"NAME", trainer.upper()}:
        del cfg.TRAINER[key]
