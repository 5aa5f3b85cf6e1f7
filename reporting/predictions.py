"""What a classifier said of its test images, and how far that can be trusted.

Shape legend: N images, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


@dataclass
class Predictions:
    """On the test images.

    Attributes:
        paths: N files.
        labels: [N].
        logits: [N, C].
        classnames: C names.
        temperature: what logits are divided by; 1 where there is no temperature scaling.
    """

    paths: list[str]
    labels: np.ndarray
    logits: np.ndarray
    classnames: list[str]
    temperature: float = 1.0

    @property
    def predicted(self) -> np.ndarray:
        """[N], the most probable class."""
        return self.logits.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """[N], bool."""
        return self.predicted == self.labels

    def confidence(self, temperature: float | None = None) -> np.ndarray:
        """[N], the probability of the most probable class."""
        scaled = self.logits.astype(np.float64) / (temperature or self.temperature)
        exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return (exponentials / exponentials.sum(axis=1, keepdims=True)).max(axis=1)

    def confusion(self) -> np.ndarray:
        """Counts [C, C], true class by predicted class."""
        counts = np.zeros((len(self.classnames), len(self.classnames)), dtype=int)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def surest_mistakes(self, count: int) -> list[int]:
        """Images that were taken for another class, the one of the highest confidence first."""
        wrong = np.flatnonzero(~self.correct)
        order = np.argsort(-self.confidence()[wrong], kind="stable")
        return wrong[order][:count].tolist()


def read_predictions(folder: Path, root: Path, temperature: float | None) -> Predictions:
    """The ``logits.npz`` that TEST.SAVE_LOGITS left in a run's folder.

    Args:
        root: DATASET.ROOT, which its paths are relative to.
        temperature: that of the run; None where it has none.

    Raises:
        FileNotFoundError: there is none.
    """
    path = folder / "logits.npz"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: the run needs TEST.SAVE_LOGITS True")
    with np.load(path, allow_pickle=False) as arrays:
        paths = [str(root / name) for name in arrays["impath"]]
        names = [str(name) for name in arrays["classnames"]]
        return Predictions(paths, arrays["label"], arrays["logits"], names, temperature or 1.0)


class Kept(NamedTuple):
    """Of the images that reach a threshold: their share, and the share of them that is right."""

    threshold: float
    share: float
    accuracy: float | None  # None where no image reaches it


def kept_at(confidence: np.ndarray, correct: np.ndarray, thresholds: list[float]) -> list[Kept]:
    found = []
    for threshold in thresholds:
        reached = confidence >= threshold
        accuracy = float(correct[reached].mean()) if reached.any() else None
        found.append(Kept(threshold, float(reached.mean()), accuracy))
    return found
