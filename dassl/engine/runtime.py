"""Where and how a run computes: device, process among others, number format."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist

from dassl.utils import processes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """One process of a run.

    Attributes:
        device: with its index, such as ``cuda:0``.
        rank: number of this process, from 0.
        world_size: how many there are.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0


def find_runtime(use_cuda: bool) -> Runtime:
    """The process that this is, as ``torchrun`` says it in the environment, and its device.

    Where there are several processes, they are connected: by nccl on GPUs, by gloo on CPUs.

    Args:
        use_cuda: take the GPU, where there is one.

    Raises:
        ValueError: there are several processes, but no ``torchrun`` that has started them, or too few GPUs.
    """
    rank, world_size = processes.rank(), processes.world_size()
    on_gpu = use_cuda and torch.cuda.is_available()
    device = torch.device("cpu")
    if on_gpu:
        index = int(os.environ["LOCAL_RANK"]) if world_size > 1 else torch.cuda.current_device()
        device = torch.device("cuda", index)
    if world_size > 1 and not dist.is_initialized():
        _check_start(device)
        if on_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=world_size)
        logger.info("%d processes share each mini-batch and each evaluation", world_size)
    return Runtime(device, rank, world_size)


def _check_start(device: torch.device) -> None:
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ValueError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set: start train.py "
            "with torchrun, or unset WORLD_SIZE"
        )
    if device.type == "cuda" and device.index >= (count := torch.cuda.device_count()):
        raise ValueError(
            f"LOCAL_RANK is {device.index}, but GPUs here: {count}; start torchrun --nproc-per-node {count}"
        )


PRECISIONS = ("fp32", "fp16", "bf16", "amp", "amp_bf16")


@dataclass(frozen=True)
class Precision:
    """``PREC``: in which number format the frozen model runs. Tuned tensors are float32 in all of them.

    Attributes:
        name: fp32; fp16 and bf16 cast the frozen towers; amp (float16) and amp_bf16 autocast every step.
        device_type: cpu or cuda.
    """

    name: str
    device_type: str = "cpu"

    @property
    def towers(self) -> torch.dtype:
        """Number format of the frozen towers' matrix products."""
        return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.name, torch.float32)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision, where ``name`` asks for it."""
        dtype = {"amp": torch.float16, "amp_bf16": torch.bfloat16}.get(self.name)
        return nullcontext() if dtype is None else torch.autocast(self.device_type, dtype)

    def scaler(self) -> torch.amp.GradScaler | None:
        """A gradient scaler, where gradients are small enough to vanish in float16."""
        return torch.amp.GradScaler(self.device_type) if self.name == "amp" else None


def check_precision(setting: str, value: str) -> None:
    """Raise ValueError naming ``setting`` unless ``value`` is a known precision."""
    if value not in PRECISIONS:
        raise ValueError(f"{setting} is {value!r}; it must be one of {', '.join(PRECISIONS)}")


def supported_precision(setting: str, value: str, device: torch.device) -> Precision:
    """The precision ``value``, or fp32 with a warning where the device has no use for it."""
    check_precision(setting, value)
    if reason := no_use_for(value, device):
        logger.warning("%s is %s, but %s: running in fp32", setting, value, reason)
        value = "fp32"
    return Precision(value, device.type)


def no_use_for(precision: str, device: torch.device) -> str:
    """Why ``device`` has no use for ``precision``; empty where it has."""
    if device.type == "cpu" and precision in ("fp16", "amp"):
        return "half precision needs a GPU"
    if device.type == "cuda" and "bf16" in precision and not torch.cuda.is_bf16_supported():
        return "this GPU has no bf16"
    return ""
