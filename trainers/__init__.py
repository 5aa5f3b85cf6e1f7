"""One file per method over one shared base (`trainers.base`); DPC on top of any of them (`trainers.dpc`)."""

import copy

from yacs.config import CfgNode as CN

from dassl.engine import TRAINER_REGISTRY
from trainers.cocoop import CoCoOp
from trainers.coop import CoOp
from trainers.ivlp import IVLP
from trainers.maple import MaPLe
from trainers.promptkd import PromptKD
from trainers.promptsrc import PromptSRC
from trainers.vpt import VPT
from trainers.with_dpc import IVLP_DPC, CoCoOp_DPC, CoOp_DPC, MaPLe_DPC, PromptKD_DPC, PromptSRC_DPC
from trainers.zsclip import ZeroshotCLIP, ZeroshotCLIP2

__all__ = [
    "IVLP",
    "IVLP_DPC",
    "VPT",
    "CoCoOp",
    "CoCoOp_DPC",
    "CoOp",
    "CoOp_DPC",
    "MaPLe",
    "MaPLe_DPC",
    "PromptKD",
    "PromptKD_DPC",
    "PromptSRC",
    "PromptSRC_DPC",
    "ZeroshotCLIP",
    "ZeroshotCLIP2",
    "extend_cfg",
]


def extend_cfg(cfg: CN) -> None:
    """Add the options of every trainer of this package below ``cfg.TRAINER``."""
    for name in TRAINER_REGISTRY.registered_names():
        for owner in TRAINER_REGISTRY.get(name).__mro__:
            for node, options in vars(owner).get("OPTIONS", {}).items():
                cfg.TRAINER[node] = copy.deepcopy(options)
