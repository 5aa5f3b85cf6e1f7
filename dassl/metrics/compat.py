"""What only other people's scripts use of the measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def compute_ci95(res: Sequence[float]) -> float:
    """Half the width of the 95 % confidence interval of the mean: 1.96 std / sqrt(n)."""
    return 1.96 * float(np.std(res)) / len(res) ** 0.5
