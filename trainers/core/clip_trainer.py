"""What every trainer on CLIP shares, whether it tunes prompts or takes hand-written ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from yacs.config import CfgNode as CN

import clip
from dassl.config.node import flatten
from dassl.engine.idle import warn_of_idle_settings
from trainers.core import model as model_code
from trainers.core.scope import Scope
from trainers.core.temperature import TemperatureScaling
from trainers.core.templates import check_template


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


class CLIPTrainer(TemperatureScaling):
    """A trainer that classifies by CLIP's features, tuned or not.

    Attributes:
        OPTIONS: the options that it adds below ``cfg.TRAINER``, by node name.
        READS: settings among `dassl.engine.idle.OPTIONAL` that have an effect on it.
    """

    OPTIONS: dict[str, Any] = {}
    READS: tuple[str, ...] = ()
    shares_batches = True

    @classmethod
    def own_options(cls) -> dict[str, Any]:
        return dict(flatten(options_of(cls), "TRAINER."))

    def check_cfg(self, cfg: CN) -> None:
        warn_of_idle_settings(
            cfg, [name for cls in type(self).__mro__ for name in vars(cls).get("READS", ())]
        )
        if cfg.INPUT.NO_TRANSFORM:
            raise ValueError(
                f"INPUT.NO_TRANSFORM is True, but {cfg.TRAINER.NAME} needs transformed images: leave it False"
            )
        if cfg.DATASET.TEMPLATE:
            check_template(cfg.DATASET.TEMPLATE)

    def build_data_loader(self) -> None:
        super().build_data_loader()
        self.scope = Scope.of(self.cfg, self.dm.dataset)

    def feature_code(self) -> Sequence[ModuleType]:
        return (*clip.FEATURE_CODE, model_code)
