"""One epoch of training: the mini-batches, their losses, progress and curves."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from dassl.engine.simple import SimpleTrainer
from dassl.utils import AverageMeter, MetricMeter, on_terminal, progress
from dassl.utils.interrupt import check_interrupt
from dassl.utils.logger import PROGRESS_LOGGER

progress_logger = logging.getLogger(PROGRESS_LOGGER)


class EpochTrainer(SimpleTrainer):
    """Trains on mini-batches; a subclass says which an epoch has, and what a step on one is."""

    def count_batches(self) -> int:
        """How many mini-batches an epoch has."""
        raise NotImplementedError

    def train_batches(self) -> Iterable[Any]:
        """The mini-batches of an epoch, ``count_batches`` of them."""
        raise NotImplementedError

    def train_step(self, batch: Any) -> Any:
        """One step of training on one of ``train_batches``; its losses and measures by name, or None."""
        raise NotImplementedError

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        self.num_batches = self.count_batches()
        frequency = min(self.cfg.TRAIN.PRINT_FREQ, self.num_batches)
        end = time.time()
        with progress(f"Epoch {self.epoch + 1}/{self.max_epoch}", self.num_batches) as bar:
            for batch_idx, batch in enumerate(self.train_batches()):
                check_interrupt()
                self.batch_idx = batch_idx
                data_time.update(time.time() - end)
                lr = self.get_current_lr()  # the step's: after the last batch it is the next epoch's
                summary = self.train_step(batch) or {}
                self._guard.check(self.where(), summary)
                self._guard.check_tuned(self.where(), self.tuned_tensors())
                losses.update(summary)
                batch_time.update(time.time() - end)
                if (self.batch_idx + 1) % frequency == 0:
                    self._guard.flush()
                    self._report_progress(losses, batch_time, data_time, lr, bar)
                if self._writer is not None:
                    self._write_curves(losses, lr)
                bar.update()
                end = time.time()
        self._guard.flush()

    def _report_progress(
        self, losses: MetricMeter, batch_time: AverageMeter, data_time: AverageMeter, lr: float, bar: Any
    ) -> None:
        batches_left = self.num_batches - self.batch_idx - 1
        batches_left += (self.max_epoch - self.epoch - 1) * self.num_batches
        eta = timedelta(seconds=int(batch_time.avg * batches_left))
        state = f"{losses} lr {lr:.4e} eta {eta}"  # existing scripts look for this order
        progress_logger.info(
            f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{self.batch_idx + 1}/{self.num_batches}] "
            f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) "
            f"data {data_time.val:.3f} ({data_time.avg:.3f}) {state}"
        )
        if on_terminal():
            bar.set_postfix_str(f"eta {eta} {losses} lr {lr:.1e}")

    def _write_curves(self, losses: MetricMeter, lr: float) -> None:
        step = self.epoch * self.num_batches + self.batch_idx
        for name, meter in losses.meters.items():
            self.write_scalar(f"train/{name}", meter.avg, step)
        self.write_scalar("train/lr", lr, step)
