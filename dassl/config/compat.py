"""What only other people's trainers and scripts use of the settings."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from dassl.config.node import CfgNode

# Dassl's own trainers are not part of this package. Projects that carry copies of them find their options
# here, since Dassl adds these to its defaults and not beside the trainers.
TRAINERS_OF_DASSL: dict[str, dict[str, Any]] = {
    # domain adaptation
    "MCD": {"N_STEP_F": 4},
    "MME": {"LMDA": 0.1},
    "CDAC": {
        "CLASS_LR_MULTI": 10,
        "RAMPUP_COEF": 30,
        "RAMPUP_ITRS": 1000,
        "TOPK_MATCH": 5,
        "P_THRESH": 0.95,
        "STRONG_TRANSFORMS": (),
    },
    "SE": {"EMA_ALPHA": 0.999, "CONF_THRE": 0.95, "RAMPUP": 300},
    "M3SDA": {"LMDA": 0.5, "N_STEP_F": 4},
    "DAEL": {"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
    # domain generalisation
    "CROSSGRAD": {"EPS_F": 1.0, "EPS_D": 1.0, "ALPHA_F": 0.5, "ALPHA_D": 0.5},
    "DDAIG": {
        "G_ARCH": "",
        "LMDA": 0.3,
        "CLAMP": False,
        "CLAMP_MIN": -1.0,
        "CLAMP_MAX": 1.0,
        "WARMUP": 0,
        "ALPHA": 0.5,
    },
    "DAELDG": {"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
    "DOMAINMIX": {"TYPE": "crossdomain", "ALPHA": 1.0, "BETA": 1.0},
    # semi-supervised learning
    "ENTMIN": {"LMDA": 1e-3},
    "MEANTEACHER": {"WEIGHT_U": 1.0, "EMA_ALPHA": 0.999, "RAMPUP": 5},
    "MIXMATCH": {"WEIGHT_U": 100.0, "TEMP": 2.0, "MIXUP_BETA": 0.75, "RAMPUP": 20000},
    "FIXMATCH": {"WEIGHT_U": 1.0, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
}


def add_for_others(cfg: CfgNode) -> None:
    """Add the options of Dassl's trainers, and a number of workers that any loader of torch takes."""
    cfg.TRAINER.update({name: CfgNode(deepcopy(options)) for name, options in TRAINERS_OF_DASSL.items()})
    cfg.DATALOADER.NUM_WORKERS = 4


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Remove the options of every trainer but ``trainer`` from ``cfg.TRAINER``."""
    for key in set(cfg.TRAINER) - {"NAME", trainer.upper()}:
        del cfg.TRAINER[key]
