"""An evaluation: logits of a split's images, the results, and what is left behind of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from dassl.config import CfgNode, Options
from dassl.engine.base import TrainerBase
from dassl.engine.processes import by_main, in_turn
from dassl.engine.report import LogitRecorder, append_result
from dassl.engine.runtime import Runtime
from dassl.utils import progress
from dassl.utils.interrupt import check_interrupt

logger = logging.getLogger(__name__)

Step = tuple[Sequence[str], torch.Tensor, torch.Tensor]  # B paths, logits [B, C] and labels [B]


def check_logits(logits: torch.Tensor, impaths: Sequence[str]) -> None:
    """Raise a ``FloatingPointError`` that names the first image whose logits [B, C] hold a NaN."""
    if (broken := logits.isnan().flatten(1).any(dim=1)).any():
        first = int(broken.nonzero()[0])
        raise FloatingPointError(
            f"the logits of {impaths[first] if len(impaths) > first else 'an image'} are NaN, and nothing is "
            "written: the prompts are broken, or fp16 and amp overflow. Remedies: another --load-epoch, "
            "fp32 as the trainer's PREC, or training again with a lower OPTIM.LR"
        )


class Tester(TrainerBase):
    """Evaluates its model; several processes share the images."""

    cfg: CfgNode
    dm: Any
    model: Any
    evaluator: Any
    runtime: Runtime
    device: torch.device
    val_loader: Any
    test_loader: Any
    lab2cname: dict[int, str]
    resumed = False  # whether this run goes on with one that was interrupted

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate the current weights.

        Args:
            split: ``val`` (``test`` when the data set has no validation images) or ``test``; None takes
                ``cfg.TEST.SPLIT``.

        Returns:
            The first result of the evaluator.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = split or self.cfg.TEST.SPLIT
        if split == "val" and self.val_loader is None:
            logger.warning("The data set has no validation images: the test images are used instead")
            split = "test"
        loader = self.val_loader if split == "val" else self.test_loader
        assert loader is not None
        logger.info("Evaluating the %s split", split)

        recorder = LogitRecorder() if self.cfg.TEST.SAVE_LOGITS else None
        batches = self.test_batches(loader)
        with progress(f"Evaluating {split}", len(batches)) as bar:
            for impaths, logits, labels in self.test_steps(batches):
                check_interrupt()
                if self.runtime.is_main:
                    check_logits(logits, impaths)
                    self.evaluator.process(logits, labels)
                    if recorder is not None:
                        recorder.add(impaths, labels, logits)
                bar.update()
        results = by_main(lambda: self._conclude(split, recorder))
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def _conclude(self, split: str, recorder: LogitRecorder | None) -> dict[str, Any]:
        """The results, also written to the run's folder."""
        results = self.evaluator.evaluate()
        if recorder is not None:
            path = os.path.join(self.output_dir, "logits.npz")
            recorder.write(path, self.cfg.DATASET.ROOT, [self.lab2cname[i] for i in sorted(self.lab2cname)])
        dataset = getattr(self.dm, "dataset", None)
        reliability = getattr(self.evaluator, "reliability", None)  # other people's evaluators have none
        append_result(
            self.cfg, self.known_options(), dataset, split, self.epochs_trained, results,
            self.result_origin(split), reliability() if reliability else None, self.resumed,
        )  # fmt: skip
        return results

    @classmethod
    def known_options(cls) -> Options:
        """What the trainer and the data sets add to the settings; without more said, all count."""
        return Options()

    def result_origin(self, split: str) -> dict[str, Any]:
        """What results on ``split`` say of their weights: ``selected_on``, where epochs were compared."""
        return {"selected_on": self.selected_on} if self.selected_on else {}

    def test_batches(self, loader: Any) -> Any:
        """What an evaluation goes through: the batches of ``loader``, or a list made from them."""
        return loader

    def test_steps(self, batches: Any) -> Iterator[Step]:
        """Paths, logits and labels of each of ``test_batches``, in order."""

        def step(batch: dict[str, Any]) -> Step:
            logits, labels = self.test_step(batch)
            return batch.get("impath", ()), logits, labels

        return in_turn(step, batches)

    def test_step(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [B, C] and labels [B] of a batch of ``test_batches``, on the device."""
        images, labels = self.parse_batch_test(batch)
        return self.model_inference(images), labels

    def model_inference(self, input: torch.Tensor) -> torch.Tensor:
        return self.model(input)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [B, 3, H, W] and labels [B] on the device."""
        return self._to_device(batch["img"]), self._to_device(batch["label"])

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)
