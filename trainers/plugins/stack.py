"""A plug-in in front of a method."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from trainers.core.trainer import PromptTrainer


def on_top(plugin: type[PromptTrainer], method: type[PromptTrainer]) -> type[PromptTrainer]:
    """The trainer ``<Method>_<Plugin>``: registered, and a subclass of both, ``plugin`` first.

    ``method`` may have plug-ins itself. One that is registered already is returned as it is.

    Raises:
        ValueError: ``method`` tunes no prompts, or one of the plug-ins refuses what it would be made of.
    """
    if not issubclass(method, PromptTrainer):
        raise ValueError(f"{plugin.__name__} goes on a trainer that tunes prompts, not on {method.__name__}")
    name = f"{method.__name__}_{plugin.__name__}"
    if name in TRAINER_REGISTRY.registered_names():
        return TRAINER_REGISTRY.get(name)
    doc = f"`{plugin.__name__}` on `{method.__name__}`."
    stacked = type(name, (plugin, method), {"__doc__": doc, "__module__": method.__module__})
    TRAINER_REGISTRY.register()(stacked)
    return stacked


def below(trainer: PromptTrainer, plugin: type[PromptTrainer]) -> type[PromptTrainer]:
    """The trainer that ``plugin`` was put in front of in the stack of ``trainer``."""
    ancestors = type(trainer).__mro__
    behind = ancestors[ancestors.index(plugin) + 1 :]
    return next(cls for cls in behind if cls not in plugin.__mro__ or cls is PromptTrainer)
