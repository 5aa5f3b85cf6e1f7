"""Measures of accuracy."""

from dassl.metrics.accuracy import compute_accuracy, macro_f1
from dassl.metrics.compat import compute_ci95

__all__ = ["compute_accuracy", "compute_ci95", "macro_f1"]
