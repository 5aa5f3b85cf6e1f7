"""Temperature scaling: one number makes confidence mean what it says (Guo et al., ICML 2017).

Shape legend: N images, C classes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dassl.data.datasets import Datum
from dassl.engine.checkpoint import add_to_checkpoint, find_checkpoint
from dassl.engine.features import FeatureTrainer
from dassl.engine.processes import by_main

logger = logging.getLogger(__name__)

_RANGE = (0.05, 20.0)  # of the temperature: where all images are right, the best one would be 0
_STEPS = 100


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T in [0.05, 20] at which the cross-entropy of ``logits / T`` is least.

    It is convex in 1 / T, so that a golden-section search finds it.

    Args:
        logits: [N, C] of images that the classifier was not tuned on.
        labels: [N].

    Raises:
        ValueError: there are no images.
    """
    if not len(labels):
        raise ValueError("temperature scaling needs images")
    logits = logits.double()

    def loss(inverse: float) -> float:
        return float(F.cross_entropy(inverse * logits, labels))

    low, high = 1 / _RANGE[1], 1 / _RANGE[0]
    share = (math.sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = loss(right)
    return 2 / (low + high)


def calibrated(logits: Tensor, temperature: float | None) -> Tensor:
    """Probabilities [N, C] of logits; without a temperature, those of the logits as they are."""
    return (logits.float() / (temperature or 1.0)).softmax(dim=1)


class TemperatureScaling(FeatureTrainer):
    """A trainer that fits a temperature to its final model, where ``TEST.TEMPERATURE_SCALING`` says so.

    Logits, and so all results, stay as they are; predict.py, export.py and reports divide by it.

    Attributes:
        temperature: what logits are divided by for calibrated probabilities; None: not fitted.
    """

    temperature: float | None = None

    def start_test(self, split: str) -> None:
        """Compute what all images of a test of ``split`` share."""

    def calibration_images(self) -> Sequence[Datum]:
        """The validation images of this run's classes, those too that a few-shot selection leaves out.

        Raises:
            ValueError: there are none that are not test images.
        """
        dataset = self.dm.dataset
        tested = {item.impath for item in dataset.test}
        images = getattr(dataset, "val_full", None) or dataset.val
        if not images or any(item.impath in tested for item in images):
            raise ValueError(
                f"TEST.TEMPERATURE_SCALING is True, but data set {dataset.name} has no validation images "
                "beside its test images: set it to False"
            )
        return images

    @torch.no_grad()
    def fit_temperature(self) -> None:
        """Set ``temperature`` by the validation images."""
        loader = self.dm.build_test_loader(self.calibration_images())
        self.set_model_mode("eval")
        self.start_test("val")
        steps = self.test_steps(self.test_batches(loader))
        parts = [(logits.cpu(), labels.cpu()) for _, logits, labels in steps]
        logits, labels = (torch.cat(each) for each in zip(*parts, strict=True))
        self.temperature = fit_temperature(logits, labels)
        accuracy = 100 * float((logits.argmax(dim=1) == labels).double().mean())
        logger.info(
            "Temperature %.4f fits %d validation images (accuracy %.2f%%) best",
            self.temperature, len(labels), accuracy,
        )  # fmt: skip

    def prepare(self) -> None:
        super().prepare()
        if self.cfg.TEST.TEMPERATURE_SCALING:
            self.calibration_images()

    def finish_model(self) -> None:
        super().finish_model()
        if not self.cfg.TEST.TEMPERATURE_SCALING:
            return
        self.fit_temperature()
        best = self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST
        epoch = None if best else self.max_epoch
        by_main(lambda: self._write_temperature(epoch))

    def _write_temperature(self, epoch: int | None) -> None:
        for name in self.get_model_names():
            path = find_checkpoint(self.output_dir, name, epoch)
            add_to_checkpoint(path, temperature=self.temperature)

    def result_origin(self, split: str) -> dict[str, Any]:
        known = {} if self.temperature is None else {"temperature": self.temperature}
        return {**super().result_origin(split), **known}
