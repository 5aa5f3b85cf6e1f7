"""Accuracy and the macro-averaged F1 score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


@torch.no_grad()
def compute_accuracy(
    output: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor, topk: Sequence[int] = (1,)
) -> list[torch.Tensor]:
    """Percentage of rows whose label is among the k highest logits, for every k in ``topk``.

    Args:
        output: logits [B, C]; of a sequence the first is taken.
        target: labels [B].
        topk: the values of k, at most C.

    Returns:
        One tensor [1] per k.
    """
    logits = output if isinstance(output, torch.Tensor) else output[0]
    ranked = logits.topk(max(topk), dim=1).indices  # [B, max k]
    hits = ranked == target[:, None]
    return [hits[:, :k].any(1).float().mean(0, keepdim=True) * 100 for k in topk]


def macro_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over the classes in ``y_true`` of the share of their images that is right, in 0..1.

    Equal to scikit-learn's ``balanced_accuracy_score(y_true, y_pred)``.
    """
    length = int(y_true.max()) + 1
    hits, actual = np.bincount(y_true[y_true == y_pred], minlength=length), np.bincount(y_true)
    present = actual > 0
    return float(np.mean(hits[present] / actual[present]))


def macro_f1(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Mean over the classes in ``y_true`` of 2 TP / (2 TP + FP + FN), in 0..1.

    Equal to scikit-learn's ``f1_score(y_true, y_pred, average="macro", labels=np.unique(y_true))``.
    """
    length = int(max(y_true.max(), y_pred.max())) + 1
    hits = np.bincount(y_true[y_true == y_pred], minlength=length)
    actual, predicted = np.bincount(y_true, minlength=length), np.bincount(y_pred, minlength=length)
    present = actual > 0
    return float(np.mean(2 * hits[present] / (actual + predicted)[present]))
