"""Names that other repositories have for our settings and trainers, translated where settings come in.

`TRAINERS` and `SETTINGS` are all there is of it: behind the door nobody knows these names.
docs/compatibility.md says whose they are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dassl.config import CfgNode as CN

logger = logging.getLogger(__name__)

# trainer of another repository -> ours
TRAINERS = {
    "StackSPLE_CoOp": "CoOp_DPC",
    "StackSPLE_PromptKD": "PromptKD_DPC",
    "ExtrasLinearProbeCoOp": "CoOp_DePT",
    "ExtrasLinearProbeKgCoOp": "KgCoOp_DePT",
    "ExtrasLinearProbeMaPLe": "MaPLe_DePT",
}
# settings that it has other defaults for
_DPC = {"TRAINER.DPC.WEIGHT_BASE": 0.5, "TRAINER.DPC.WEIGHT_NEW": 0.2}
_DEPT = {"OPTIM.LR": 0.0035, "OPTIM.MAX_EPOCH": 10}
_DEFAULTS = {
    "StackSPLE_CoOp": _DPC,
    "StackSPLE_PromptKD": _DPC,
    "ExtrasLinearProbeCoOp": _DEPT,
    "ExtrasLinearProbeKgCoOp": {**_DEPT, "TRAINER.COOP.W": 2.0},
    "ExtrasLinearProbeMaPLe": _DEPT,
}
_UNREAD = "the authors' code does not read it"


@dataclass(frozen=True)
class Alias:
    """What becomes of a setting of another repository.

    Attributes:
        new: our setting that takes its value; "": it is left out.
        only: values that are understood; empty for all.
        reason: why it is left out, or what other values would need.
    """

    new: str = ""
    only: tuple[Any, ...] = ()
    reason: str = ""


SETTINGS = {
    "SPLE.BACK_CKPT_PATH": Alias("TRAINER.DPC.BACKBONE_DIR"),
    "SPLE.BACK_CKPT_EPOCH": Alias("TRAINER.DPC.BACKBONE_EPOCH"),
    "SPLE.INFER_TOPK": Alias("TRAINER.DPC.TOPK"),
    "SPLE.PIC_LIB": Alias("TRAINER.DPC.NEGATIVE_POOL"),
    "SPLE.STACK.WEIGHT": Alias("TRAINER.DPC.WEIGHT_BASE"),
    "SPLE.STACK.WEIGHT_FOR_NEW": Alias("TRAINER.DPC.WEIGHT_NEW"),
    "SPLE.STACK.MODE": Alias(
        only=("converse", "loop+converse"),
        reason="the others tune a single prompt: train its backbone's trainer instead",
    ),
    "SPLE.STACK.LOOP_DEPTH": Alias(reason=_UNREAD),
    "SPLE.SPLE_TRAINER.SPLE_INIT": Alias(only=(True,), reason="P' starts from P"),
    "SPLE.SPLE_TRAINER.SPLE_BASE_TRAIN": Alias(reason=_UNREAD),
    "SPLE.INFER_NONREPEAT": Alias(reason=_UNREAD),
    "SPLE.LOSS_KD_WEIGHT": Alias(reason=_UNREAD),
    "SPLE.KD_INFER": Alias(reason=_UNREAD),
    "TASK": Alias("TRAINER.TASK"),
    "TRAINER.PROMPTKD.PROJECT_LAYER": Alias(reason=_UNREAD),
    "TRAINER.PROMPTKD.CE_WEIGHT": Alias(reason=_UNREAD),
    "TRAINER.LINEAR_PROBE.WEIGHT": Alias("TRAINER.DEPT.WEIGHT"),
    "TRAINER.LINEAR_PROBE.TEST_TIME_FUSION": Alias("TRAINER.DEPT.FUSION"),
    "TRAINER.LINEAR_PROBE.TYPE": Alias(only=("linear",), reason="the head is linear"),
    "TRAINER.FILM.LINEAR_PROBE": Alias("TRAINER.DEPT.FILM"),
    "TRAINER.NAMES_TO_UPDATE": Alias(
        only=(["prompt_learner", "linear_probe", "film"],), reason="prompts and head are tuned together"
    ),
    "TRAINER.COOP.ALPHA": Alias(reason=_UNREAD),
    "OPTIM.LR_EXP": Alias("TRAINER.DEPT.LR_FACTOR"),
}

# settings that take text here, and are a switch in another repository: what on and off mean
SWITCHES = {"TRAINER.COOP.CTX_INIT": {True: "a photo of a", False: ""}}


@dataclass
class Door:
    """Translates what one run is given, and remembers what its end depends on.

    Attributes:
        trainer: what the command line calls the trainer.
        seen: settings of others, with the last value of each.
    """

    trainer: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    def begin(self, cfg: CN) -> None:
        """Set the defaults that the trainer has in its own repository, before any file is read."""
        if self.trainer in TRAINERS:
            defaults = _DEFAULTS[self.trainer]
            cfg.merge_from_list([word for pair in defaults.items() for word in pair])
            said = ", ".join(f"{key} {value}" for key, value in defaults.items())
            logger.info("%s is %s here; its defaults: %s", self.trainer, TRAINERS[self.trainer], said)

    def translate(self, tree: CN) -> None:
        """Replace other repositories' names in ``tree``, a layer of settings before it is merged.

        Raises:
            ValueError: a value that has no counterpart here.
        """
        for old, alias in SETTINGS.items():
            for value in _pop(tree, old.split(".")):
                self.seen[old] = value
                if alias.only and value not in alias.only:
                    known = " or ".join(map(repr, alias.only))
                    raise ValueError(f"{old} is {value!r}, but only {known} is known here: {alias.reason}")
                if alias.new:
                    _put(tree, alias.new.split("."), value)
                    logger.info("%s %s -> %s", old, value, alias.new)
                else:
                    logger.info("%s %s is left out: %s", old, value, alias.reason or "it is so here")
        for key, text in SWITCHES.items():
            for value in _pop(tree, key.split(".")):
                said = text[value] if isinstance(value, bool) else value
                _put(tree, key.split("."), said)
                if said != value:
                    logger.info("%s %s -> %r", key, value, said)
        name = tree.get("TRAINER", {}).get("NAME")
        if isinstance(name, str) and name in TRAINERS:
            tree.TRAINER.NAME = TRAINERS[name]

    def end(self, cfg: CN) -> None:
        """Settle what depends on several settings, once all are merged."""
        epoch = self.seen.get("SPLE.BACK_CKPT_EPOCH")
        if self.trainer != "StackSPLE_PromptKD" or epoch is None:
            return
        dpc = cfg.TRAINER.DPC
        best = os.path.join(dpc.BACKBONE_DIR, "VLPromptLearner", "model-best.pth.tar")
        if os.path.isfile(best):
            logger.info("SPLE.BACK_CKPT_EPOCH %s gives way to %s, as there", epoch, best)
            dpc.BACKBONE_EPOCH = None


def config_file(path: str) -> str:
    """``path``; where another repository's trainer's folder is not here, our trainer's file of that name."""
    folder, name = os.path.split(path)
    above, trainer = os.path.split(folder)
    ours = os.path.join(above, TRAINERS.get(trainer, trainer), name)
    if os.path.exists(path) or not os.path.exists(ours):
        return path
    logger.info("%s -> %s", path, ours)
    return ours


def _pop(tree: Any, path: list[str]) -> Iterator[Any]:
    """The value at ``path``, if there is one, taken out together with groups that are empty then."""
    if not isinstance(tree, dict) or path[0] not in tree:
        return
    if len(path) == 1:
        yield tree.pop(path[0])
        return
    yield from _pop(tree[path[0]], path[1:])
    if tree[path[0]] == {}:
        del tree[path[0]]


def _put(tree: CN, path: list[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, CN())
    tree[path[-1]] = value
