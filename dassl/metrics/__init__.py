"""Measures of accuracy."""

from dassl.metrics.accuracy import compute_accuracy, compute_ci95, macro_f1

__all__ = ["compute_accuracy", "compute_ci95", "macro_f1"]
