"""What trainers, data sets and configurations are called in tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# in the order and under the names of the DPC paper's tables
BENCHMARK = (
    *("ImageNet", "Caltech101", "OxfordPets", "StanfordCars", "Flowers102", "Food101"),
    *("FGVCAircraft", "SUN397", "DTD", "EuroSAT", "UCF101"),
)
SHIFTED_IMAGENETS = ("ImageNetV2", "ImageNetSketch", "ImageNetA", "ImageNetR")
ALIASES = {"describabletextures": "DTD", "oxfordflowers": "Flowers102"}
DEFAULT_SOURCE = "ImageNet"  # of the cross-dataset and cross-domain protocols
ZERO_SHOT = "Zero-shot CLIP"
TWO_STEP = "two-step tuning"  # of the learner alone, for as many steps as DPC takes


class Label(NamedTuple):
    """What a folder's name says, such as ``vit_b16_ep20-released-from-caltech101``."""

    cfg: str
    variant: str  # of DPC, or two_step, its control
    source: str  # data set that was trained on


def split_label(label: str, trainer: str) -> Label:
    label, _, source = label.partition("-from-")
    cfg, variant = label, "paper"
    if trainer.endswith("_DPC") and (said := re.fullmatch(r"(.+)-(released|direct|two_step)", label)):
        cfg, variant = said.groups()
    return Label(cfg, variant, dataset_name(source) or DEFAULT_SOURCE)


def method_name(trainer: str, variant: str = "paper") -> str:
    """``CoOp_DPC`` -> "CoOp + DPC (released)", the reading of DPC in brackets."""
    if trainer.startswith("ZeroshotCLIP"):
        return trainer.replace("ZeroshotCLIP", ZERO_SHOT)
    plugin = TWO_STEP if variant == "two_step" else f"DPC ({variant})"
    name = trainer.replace("_DPC", f" + {plugin}")
    return name.replace("_DePT", " + DePT")


def dataset_name(name: str, seen: Iterable[str] = ()) -> str:
    """The tables' name of a data set, from a configuration's (``dtd``) or a registered one."""
    key = name.replace("_", "").lower()
    if name in (seen := set(seen)):  # folders of one's own may differ in nothing but case or underscores
        return name
    known = {known.lower(): known for known in (*seen, *BENCHMARK, *SHIFTED_IMAGENETS)}
    return ALIASES.get(key) or known.get(key) or name


def dataset_rank(name: str) -> tuple[int, str]:
    """Sorts as the papers do; what they do not have comes behind, by name."""
    order = (*BENCHMARK, *SHIFTED_IMAGENETS)
    return (order.index(name) if name in order else len(order), name)


def method_rank(method: str) -> tuple[bool, str, str]:
    """Zero-shot first, then each prompt learner with its DPC right behind it."""
    return (not method.startswith(ZERO_SHOT), re.split(" ", method)[0], method)
