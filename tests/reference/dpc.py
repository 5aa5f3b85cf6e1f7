"""DPC's formulas once more, element by element in float64, straight from the paper's equations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mixed(parallel: Array, tuned: Array, w: float) -> Array:
    """Eq. 12 and 13."""
    out = np.empty_like(tuned, dtype=np.float64)
    for index in np.ndindex(tuned.shape):
        out[index] = w * float(parallel[index]) + (1 - w) * float(tuned[index])
    return out


def contrastive_loss(image_features: Array, text_features: Array, temperature: float) -> float:
    """Eq. 9-11 over L pairs: the mean over pairs of the two negative log-probabilities' sum."""
    size = len(image_features)
    similarity = [
        [
            float(v @ t / np.sqrt(v @ v) / np.sqrt(t @ t)) / temperature
            for t in text_features.astype(np.float64)
        ]
        for v in image_features.astype(np.float64)
    ]
    total = 0.0
    for i in range(size):
        over_texts = sum(np.exp(similarity[i][j]) for j in range(size))
        over_images = sum(np.exp(similarity[j][i]) for j in range(size))
        total -= np.log(np.exp(similarity[i][i]) / over_texts) + np.log(
            np.exp(similarity[i][i]) / over_images
        )
    return total / size


def sgd_on_mixed_prompt(tuned: Array, gradient_of_parallel: Array, lr: float, w: float) -> Array:
    """P' after one plain SGD step on the leaf P~_b that started at P (Eq. 12 and its inverse)."""
    mixed_prompt = tuned - lr * gradient_of_parallel / w
    return (mixed_prompt - (1 - w) * tuned) / w
