"""Measures of accuracy."""

from dassl.metrics.accuracy import compute_accuracy, macro_accuracy, macro_f1
from dassl.metrics.calibration import Bin, bins_of, calibration_error
from dassl.metrics.compat import (
    compute_ci95,
    compute_distance_matrix,
    cosine_distance,
    euclidean_squared_distance,
)

__all__ = [
    "Bin",
    "bins_of",
    "calibration_error",
    "compute_accuracy",
    "compute_ci95",
    "compute_distance_matrix",
    "cosine_distance",
    "euclidean_squared_distance",
    "macro_accuracy",
    "macro_f1",
]
