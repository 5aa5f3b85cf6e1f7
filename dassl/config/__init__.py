"""Settings of a run: ``get_cfg_default()`` gives a fresh tree to merge files and options into."""

from dassl.config.compat import clean_cfg
from dassl.config.defaults import _C
from dassl.config.node import Config
from dassl.config.relevant import Options, changed_settings, config_hash, relevant_settings

__all__ = [
    "Config",
    "Options",
    "changed_settings",
    "clean_cfg",
    "config_hash",
    "get_cfg_default",
    "relevant_settings",
]


def get_cfg_default() -> Config:
    """A fresh copy of the default settings."""
    return _C.clone()
