"""Settings of a run: ``get_cfg_default()`` gives a fresh tree to merge files and options into."""

from collections.abc import Callable

from dassl.config.absent import complete
from dassl.config.compat import add_for_others, clean_cfg
from dassl.config.defaults import _C
from dassl.config.node import CfgNode, Config, allow, allow_words, check_settings
from dassl.config.relevant import Options, changed_settings, config_hash, relevant_settings

__all__ = [
    "CfgNode",
    "Config",
    "Options",
    "allow",
    "allow_words",
    "changed_settings",
    "check_settings",
    "clean_cfg",
    "complete",
    "config_hash",
    "extend_defaults",
    "get_cfg_default",
    "relevant_settings",
]


_extensions: list[Callable[[Config], None]] = []


def extend_defaults(extend: Callable[[Config], None]) -> None:
    """Let every further `get_cfg_default` also hold what ``extend`` adds."""
    _extensions.append(extend)


def get_cfg_default(for_others: bool = True) -> Config:
    """A fresh copy of the default settings.

    Args:
        for_others: with what only other people's projects need: the options of the trainers that Dassl brings
            along, for copies of these, and Dassl's number of workers, for loaders of their own.
    """
    cfg = _C.clone()
    if for_others:
        add_for_others(cfg)
    for extend in _extensions:
        extend(cfg)
    return cfg
