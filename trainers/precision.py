"""`PREC`: in which number format the frozen model runs. Tuned tensors are float32 in all of them."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16", "bf16", "amp")


def check_precision(setting: str, value: str) -> None:
    """Raise ValueError naming ``setting`` unless ``value`` is a known precision."""
    if value not in PRECISIONS:
        raise ValueError(f"{setting} is {value!r}; it must be one of {', '.join(PRECISIONS)}")


def supported_precision(setting: str, value: str, device: torch.device) -> str:
    """``value``, or fp32 with a warning where the device has no use for it."""
    check_precision(setting, value)
    fallback = None
    if device.type == "cpu" and value in ("fp16", "amp"):
        fallback = "half precision needs a GPU"
    elif device.type == "cuda" and value == "bf16" and not torch.cuda.is_bf16_supported():
        fallback = "this GPU has no bf16"
    if fallback is None:
        return value
    logger.warning("%s is %s, but %s: running in fp32", setting, value, fallback)
    return "fp32"


def tower_dtype(precision: str) -> torch.dtype:
    """Number format of the frozen towers' matrix products."""
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
