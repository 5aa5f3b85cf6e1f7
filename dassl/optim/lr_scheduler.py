"""Learning-rate schedules by name, and the two warm-ups. One step is one epoch."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR

from dassl.config import CfgNode, complete
from dassl.config.allowed import SCHEDULERS, WARMUPS
from dassl.utils.checkpoint import allow_in_checkpoints
from dassl.utils.registry import check_availability

logger = logging.getLogger(__name__)

AVAI_SCHEDS, AVAI_WARMUPS = list(SCHEDULERS), list(WARMUPS)


class _BaseWarmupScheduler(LRScheduler):
    """Its own learning rate for ``warmup_epoch`` epochs, then the successor's.

    The successor counts from the end of the warm-up: epoch ``warmup_epoch`` uses its first learning rate.
    """

    def __init__(self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int) -> None:
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step()
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step(epoch)

    def get_lr(self) -> list[float | Tensor]:
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return self.get_warmup_lr()

    def get_warmup_lr(self) -> list[float | Tensor]:
        """The learning rate of each parameter group in epoch ``last_epoch`` of the warm-up."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Plain values only, the successor's under ``successor``."""
        return {**super().state_dict(), "successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``; Dassl's, which hold the successor itself, are understood too."""
        own = dict(state_dict)
        successor = own.pop("successor")
        super().load_state_dict(own)
        if isinstance(successor, LRScheduler):
            successor = {k: v for k, v in vars(successor).items() if k != "optimizer"}
        self.successor.load_state_dict(successor)


class ConstantWarmupScheduler(_BaseWarmupScheduler):
    """Warm-up at the constant learning rate ``cons_lr``."""

    def __init__(
        self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int, cons_lr: float
    ) -> None:
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch)

    def get_warmup_lr(self) -> list[float | Tensor]:
        return [self.cons_lr] * len(self.base_lrs)


class LinearWarmupScheduler(_BaseWarmupScheduler):
    """Warm-up from ``min_lr`` in epoch 0 over ``lr * e / warmup_epoch`` in epoch e."""

    def __init__(
        self, optimizer: Optimizer, successor: LRScheduler, warmup_epoch: int, min_lr: float
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch)

    def get_warmup_lr(self) -> list[float | Tensor]:
        if self.last_epoch == 0:
            return [self.min_lr] * len(self.base_lrs)
        return [lr * self.last_epoch / self.warmup_epoch for lr in self.base_lrs]


allow_in_checkpoints(ConstantWarmupScheduler, LinearWarmupScheduler)


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """The schedule that ``optim_cfg`` (``cfg.OPTIM``) describes, to be stepped once per epoch.

    Raises:
        ValueError: LR_SCHEDULER or WARMUP_TYPE is unknown, or STEPSIZE does not fit.
    """
    complete(optim_cfg, "OPTIM")
    check_availability(optim_cfg.LR_SCHEDULER, AVAI_SCHEDS)
    scheduler = _build_main_scheduler(optimizer, optim_cfg)
    if optim_cfg.WARMUP_EPOCH <= 0:
        return scheduler

    check_availability(optim_cfg.WARMUP_TYPE, AVAI_WARMUPS)
    if not optim_cfg.WARMUP_RECOUNT:
        scheduler.last_epoch = optim_cfg.WARMUP_EPOCH
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_CONS_LR)
    return LinearWarmupScheduler(optimizer, scheduler, optim_cfg.WARMUP_EPOCH, optim_cfg.WARMUP_MIN_LR)


def _build_main_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    stepsize, name = optim_cfg.STEPSIZE, optim_cfg.LR_SCHEDULER
    if name == "cosine":
        if tuple(stepsize) != (-1,):
            logger.warning("OPTIM.STEPSIZE %s has no effect on OPTIM.LR_SCHEDULER cosine", stepsize)
        return CosineAnnealingLR(optimizer, optim_cfg.MAX_EPOCH)
    if name == "multi_step":
        if any(s <= 0 for s in stepsize):
            raise ValueError(f"OPTIM.STEPSIZE {stepsize}: multi_step needs positive epochs of the steps")
        return MultiStepLR(optimizer, milestones=list(stepsize), gamma=optim_cfg.GAMMA)
    period = stepsize[-1] if stepsize[-1] > 0 else optim_cfg.MAX_EPOCH
    return StepLR(optimizer, step_size=period, gamma=optim_cfg.GAMMA)
