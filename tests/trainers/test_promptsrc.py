from __future__ import annotations

import numpy as np
import pytest

from trainers.promptsrc import gaussian_weights


def test_weights_are_a_gaussian_of_sum_one() -> None:
    weights = np.array(gaussian_weights(20, 15, 1))
    assert weights.sum() == pytest.approx(1) and weights.argmax() == 14
    assert weights[13] / weights[14] == pytest.approx(np.exp(-0.5))


def test_a_mean_out_of_reach_is_named() -> None:
    with pytest.raises(ValueError, match="GPA_MEAN is 90"):
        gaussian_weights(5, 90, 1)
