"""Whether confidence means what it says.

Shape legend: N images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 15  # of confidence, as usual for the expected calibration error


class Bin(NamedTuple):
    """Images of about one confidence: how many, its mean, and the share that is right."""

    images: int
    confidence: float
    accuracy: float


def bins_of(confidence: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """The bins of equal width that have images, from low to high confidence.

    Args:
        confidence: [N], the probability in [0, 1] of the class that an image was taken for.
        correct: [N], bool.
    """
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    groups = (np.flatnonzero(index == i) for i in range(BINS))
    return [
        Bin(len(group), float(confidence[group].mean()), float(correct[group].mean()))
        for group in groups
        if len(group)
    ]


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015), in 0..1; 0: confidence is the share right."""
    parts = bins_of(confidence, correct)
    return sum(part.images * abs(part.accuracy - part.confidence) for part in parts) / len(confidence)
