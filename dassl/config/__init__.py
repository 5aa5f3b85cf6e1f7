"""Settings of a run: ``get_cfg_default()`` gives a fresh tree to merge files and options into."""

from dassl.config.absent import complete
from dassl.config.compat import clean_cfg, options_of_dassls_trainers
from dassl.config.defaults import _C
from dassl.config.node import Config, config_hash, relevant_settings

__all__ = ["Config", "clean_cfg", "complete", "config_hash", "get_cfg_default", "relevant_settings"]


def get_cfg_default(trainers_of_dassl: bool = True) -> Config:
    """A fresh copy of the default settings.

    Args:
        trainers_of_dassl: with the options of the trainers that Dassl brings along, for copies of these.
    """
    cfg = _C.clone()
    if trainers_of_dassl:
        cfg.TRAINER.update(options_of_dassls_trainers())
    return cfg
