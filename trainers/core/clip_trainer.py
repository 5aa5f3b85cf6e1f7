"""What every trainer on CLIP shares, whether it tunes prompts or takes hand-written ones."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import clip
from dassl.config import CfgNode as CN
from dassl.config.node import flatten
from dassl.config.rules import Rule
from dassl.engine.idle import warn_of_idle_settings
from dassl.utils.registry import suggestion
from trainers.core import model as model_code
from trainers.core.scope import Scope
from trainers.core.temperature import TemperatureScaling


def options_of(trainer: type) -> CN:
    """The options that a class and its bases add below ``cfg.TRAINER``, with their defaults."""
    tree = CN()
    for owner in reversed(trainer.__mro__):
        for node, options in vars(owner).get("OPTIONS", {}).items():
            if isinstance(options, CN):
                tree.setdefault(node, CN()).update(copy.deepcopy(options))
            else:
                tree[node] = options
    return tree


def rules_of(trainer: type) -> dict[str, Rule]:
    """What the options of a class and its bases may be, by full name."""
    rules: dict[str, Rule] = {}
    for owner in reversed(trainer.__mro__):
        rules |= vars(owner).get("ALLOWED", {})
    names = dict(flatten(options_of(trainer), "TRAINER."))
    return {name: rules[leaf] for name in names if (leaf := name.rpartition(".")[2]) in rules}


class CLIPTrainer(TemperatureScaling):
    """A trainer that classifies by CLIP's features, tuned or not.

    Attributes:
        OPTIONS: the options that it adds below ``cfg.TRAINER``, by node name.
        ALLOWED: what these may be, by their own names, such as ``N_CTX``; switches need no word.
        READS: settings among `dassl.engine.idle.OPTIONAL` that have an effect on it.
    """

    OPTIONS: dict[str, Any] = {}
    ALLOWED: dict[str, Rule] = {}
    READS: tuple[str, ...] = ()
    shares_batches = True

    @classmethod
    def own_options(cls) -> dict[str, Any]:
        return dict(flatten(options_of(cls), "TRAINER."))

    def check_cfg(self, cfg: CN) -> None:
        warn_of_idle_settings(
            cfg, [name for cls in type(self).__mro__ for name in vars(cls).get("READS", ())]
        )
        self._check_backbone(cfg.MODEL.BACKBONE)
        if cfg.INPUT.NO_TRANSFORM:
            raise ValueError(
                f"INPUT.NO_TRANSFORM is True, but {cfg.TRAINER.NAME} needs transformed images: leave it False"
            )

    @staticmethod
    def _check_backbone(options: CN) -> None:
        known = clip.available_models()
        if (
            options.NAME
            and not options.PATH
            and options.NAME not in known
            and not os.path.exists(options.NAME)
        ):
            near = suggestion(options.NAME, known)
            raise ValueError(f"MODEL.BACKBONE.NAME is {options.NAME!r}, which is no CLIP{near}")

    def build_data_loader(self) -> None:
        super().build_data_loader()
        self.scope = Scope.of(self.cfg, self.dm.dataset)

    def feature_code(self) -> Sequence[ModuleType]:
        return (*clip.FEATURE_CODE, model_code)
