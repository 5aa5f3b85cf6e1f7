"""The options of DPC, what they must be, and which have no effect."""

from __future__ import annotations

import logging

from dassl.config import CfgNode as CN
from dassl.config import allow_words
from dassl.config.rules import Rule, is_line, number, one_of, text, whole
from trainers.plugins.dpc.adaptive import AUTO, GROUPINGS
from trainers.plugins.dpc.pool import is_library
from trainers.plugins.dpc.readings import READINGS

logger = logging.getLogger(__name__)

_NODE = "TRAINER.DPC"

OPTIONS = CN(
    {
        "VARIANT": "released",  # the reading: released (the authors' code), paper or direct
        "BACKBONE_DIR": "",  # output folder of the run that tuned P
        "BACKBONE_EPOCH": None,  # its epoch, -1 the last, 0 the best; None: the best if there is one
        "WEIGHT_BASE": None,  # w_b, Eq. 12, in (0, 1]; 0 evaluates P itself; None: 0.2, for MaPLe 1.0;
        # auto: trained under that default, what base classes see is chosen by the validation images' loss
        "AUTO_GROUPS": "one",  # tensors that share a weight under auto: one (all), tower, or tensor (each)
        "WEIGHT_NEW": 1e-6,  # w_n, Eq. 13, in [0, 1]
        "TOPK": 8,  # K of the negative sampler, at least 2; clamped to the number of classes
        "NEGATIVE_POOL": "auto",  # negatives' images: fewshot, train (full split), auto, a .json
        "KEEP_BACKBONE_LOSS": True,  # the backbone's losses but its cross-entropy, beside Eq. 9
        "HARD_NEGATIVES": True,  # ablation: off trains P' with the backbone's own loss
        "WEIGHTING": True,  # ablation: off uses P' alone on base classes (w_b = 1)
        "DECOUPLING": True,  # ablation: off uses the base classes' prompt on new classes too
    }
)

allow_words(f"{_NODE}.WEIGHT_BASE", AUTO)


_POOLS = one_of("auto", "fewshot", "train")
ALLOWED = {
    "VARIANT": Rule(lambda v: v in READINGS, f"one of {', '.join(READINGS)}", tuple(READINGS)),
    "BACKBONE_DIR": text(),
    "BACKBONE_EPOCH": whole(-1).either("None", None),
    "WEIGHT_BASE": number(0, 1, "w_b in (0, 1]").either(
        f"0 to evaluate P, {AUTO}, or None for the learner's own", None, AUTO
    ),
    "AUTO_GROUPS": one_of(*GROUPINGS),
    "WEIGHT_NEW": number(0, 1, "w_n in [0, 1]"),
    "TOPK": whole(2),  # K counts the true class
    "NEGATIVE_POOL": Rule(
        lambda v: _POOLS.allows(v) or (is_line(v) and is_library(v)),
        f"{_POOLS.words}, or a .json file of images",
        _POOLS.names,
    ),
}


def check_options(options: CN, backbone: str) -> None:
    """Raise ValueError unless ``options`` (``cfg.TRAINER.DPC``) make sense; ``backbone`` is what tunes P."""
    for name, rule in ALLOWED.items():
        if problem := rule.problem(f"{_NODE}.{name}", options[name]):
            raise ValueError(problem)
    if not options.BACKBONE_DIR:
        raise ValueError(
            f"{_NODE}.BACKBONE_DIR is empty: DPC continues from tuned prompts. "
            f"Train {backbone} first and give its output folder."
        )


def warn_of_idle_options(options: CN, backbone: str, has_own_losses: bool) -> None:
    """Say which of ``options`` change nothing in this run.

    Args:
        has_own_losses: whether ``backbone`` has a loss beside the one that DPC replaces.
    """
    if not options.HARD_NEGATIVES:
        for name in ("NEGATIVE_POOL", "TOPK", "KEEP_BACKBONE_LOSS"):
            if options[name] != OPTIONS[name]:
                logger.warning("%s.%s has no effect with %s.HARD_NEGATIVES off", _NODE, name, _NODE)
    elif not options.KEEP_BACKBONE_LOSS and not has_own_losses:
        message = "%s.KEEP_BACKBONE_LOSS has no effect: %s has no loss beside the one that DPC replaces"
        logger.warning(message, _NODE, backbone)
    if not options.DECOUPLING and options.WEIGHT_NEW != OPTIONS.WEIGHT_NEW:
        logger.warning("%s.WEIGHT_NEW has no effect with %s.DECOUPLING off", _NODE, _NODE)
    if options.WEIGHT_BASE != AUTO and options.AUTO_GROUPS != OPTIONS.AUTO_GROUPS:
        message = "%s.AUTO_GROUPS has no effect without %s.WEIGHT_BASE %s"
        logger.warning(message, _NODE, _NODE, AUTO)
    if not options.WEIGHTING and options.WEIGHT_BASE is not None:
        logger.warning("%s.WEIGHT_BASE has no effect with %s.WEIGHTING off", _NODE, _NODE)
