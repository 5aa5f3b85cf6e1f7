"""One file a method over one spine (`trainers.core`), and what is put in front of any (`trainers.plugins`).

A method is listed by importing its module; ``<Method>_DPC`` and, where it fits, ``<Method>_DePT`` follow by
themselves.
"""

import logging
from functools import partial
from typing import Any

from dassl.config import CfgNode as CN
from dassl.config import allow
from dassl.config.node import flatten
from dassl.engine import TRAINER_REGISTRY, TrainerX
from trainers import (  # noqa: F401
    cocoop,
    contcoop,
    contcoop_dpc,
    coop,
    e2mim,
    ivlp,
    kgcoop,
    maple,
    mmrl,
    mmrlpp,
    promptkd,
    promptsrc,
    tcp,
    vpt,
    zsclip,
)
from trainers.core import PromptTrainer
from trainers.core.clip_trainer import options_of, rules_of
from trainers.plugins import on_top
from trainers.plugins.dept import DePT, obstacle
from trainers.plugins.dpc import DPC
from trainers.plugins.dpc.anywhere import with_dpc

logger = logging.getLogger(__name__)

for _name in TRAINER_REGISTRY.registered_names():
    _method = TRAINER_REGISTRY.get(_name)
    if issubclass(_method, PromptTrainer) and not issubclass(_method, DPC):
        on_top(DPC, _method)
        if not obstacle(_method):
            on_top(DePT, _method)


def _dpc_on(trainer: type[TrainerX]) -> type[TrainerX]:
    return on_top(DPC, trainer) if issubclass(trainer, PromptTrainer) else with_dpc(trainer)


# Of a stack that nobody has listed, the plug-in says whether it goes.
TRAINER_REGISTRY.derive("_DPC", _dpc_on)
TRAINER_REGISTRY.derive("_DePT", partial(on_top, DePT))


def __getattr__(name: str) -> Any:
    """Every trainer under its registered name."""
    if name in TRAINER_REGISTRY:
        return TRAINER_REGISTRY.get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def extend_cfg(cfg: CN) -> None:
    """Add the options of every trainer of this package below ``cfg.TRAINER``, and say what they may be."""
    for name in TRAINER_REGISTRY.registered_names():
        allow(rules_of(TRAINER_REGISTRY.get(name)))
        for node, options in options_of(TRAINER_REGISTRY.get(name)).items():
            if isinstance(options, CN):
                cfg.TRAINER.setdefault(node, CN()).update(options)
            else:
                cfg.TRAINER[node] = options


def warn_of_foreign_options(cfg: CN) -> None:
    """Say which options of other trainers than the run's were changed in vain."""
    names = TRAINER_REGISTRY.registered_names()
    if cfg.TRAINER.NAME not in names:
        return
    everyone = [dict(flatten(options_of(TRAINER_REGISTRY.get(name)), "TRAINER.")) for name in names]
    defaults = {key: default for options in everyone for key, default in options.items()}
    own, now = everyone[names.index(cfg.TRAINER.NAME)], dict(flatten(cfg))
    for key in sorted(set(defaults) - set(own)):
        if now[key] != defaults[key]:
            logger.warning("%s has no effect on %s", key, cfg.TRAINER.NAME)
