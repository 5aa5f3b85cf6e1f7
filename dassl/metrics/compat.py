"""What only other people's scripts use of the measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from dassl.utils.registry import check_availability


def compute_ci95(res: Sequence[float]) -> float:
    """Half the width of the 95 % confidence interval of the mean: 1.96 std / sqrt(n)."""
    return 1.96 * float(np.std(res)) / len(res) ** 0.5


def compute_distance_matrix(
    input1: torch.Tensor, input2: torch.Tensor, metric: str = "euclidean"
) -> torch.Tensor:
    """Distances [M, N] of the rows of ``input1`` [M, D] and ``input2`` [N, D].

    ``metric`` is euclidean (squared) or cosine (1 - cosine).
    """
    check_availability(metric, ["euclidean", "cosine"])
    return (euclidean_squared_distance if metric == "euclidean" else cosine_distance)(input1, input2)


def euclidean_squared_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """Squared distances [M, N] of the rows of ``input1`` [M, D] and ``input2`` [N, D]."""
    squares = input1.pow(2).sum(1)[:, None] + input2.pow(2).sum(1)
    return squares - 2 * input1 @ input2.t()


def cosine_distance(input1: torch.Tensor, input2: torch.Tensor) -> torch.Tensor:
    """1 - cosine [M, N] of the rows of ``input1`` [M, D] and ``input2`` [N, D]."""
    return 1 - F.normalize(input1, dim=1) @ F.normalize(input2, dim=1).t()
