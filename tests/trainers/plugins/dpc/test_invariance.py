"""How far P' moved from P, against NumPy, and with moves that are known."""

from __future__ import annotations

import math

import numpy as np
import torch

from trainers.plugins.dpc.invariance import (
    correlation,
    moved_at_random,
    negatives_by_class,
    relative_move,
    rows_of,
    share_kept,
)


def test_rows_are_over_the_last_dimension() -> None:
    assert rows_of(torch.zeros(2, 3, 5)).shape == (6, 5)
    assert rows_of(torch.zeros(5)).shape == (1, 5) and rows_of(torch.tensor(3.0)).shape == (1, 1)
    assert rows_of(torch.zeros(2, dtype=torch.float16)).dtype == torch.float64


def test_correlation_is_pearson_s() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(3.0, 2.0, (4, 50)), rng.normal(-1.0, 1.0, (4, 50))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
    found = correlation(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    rows = torch.from_numpy(first)
    torch.testing.assert_close(correlation(rows, 2 * rows + 7), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(correlation(rows, -rows), -torch.ones(4, dtype=torch.float64))
    assert correlation(torch.ones(1, 3), rows[:1, :3]).isnan().all()


def test_a_random_move_is_as_long_and_of_the_seed() -> None:
    tuned = torch.randn(3, 64, dtype=torch.float64)
    parallel = tuned + torch.tensor([[0.0], [1.0], [2.0]]) * torch.randn(3, 64)
    moved = moved_at_random(parallel, tuned, torch.Generator().manual_seed(1))
    torch.testing.assert_close(relative_move(moved, tuned), relative_move(parallel, tuned))
    assert (
        torch.equal(moved[0], tuned[0]) and correlation(moved - tuned, parallel - tuned)[1:].abs().max() < 0.5
    )
    again = moved_at_random(parallel, tuned, torch.Generator().manual_seed(1))
    assert torch.equal(moved, again)
    assert not torch.equal(moved, moved_at_random(parallel, tuned, torch.Generator().manual_seed(2)))


def test_length_is_relative_to_the_tuned_prompt() -> None:
    tuned = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert relative_move(tuned + torch.tensor([[0.0, 2.0]]), tuned).item() == 2 / 5


def test_negatives_are_counted_by_true_class() -> None:
    counts = negatives_by_class([(0, [1, 2]), (0, [1]), (2, [0])], 3)
    assert counts.tolist() == [[0, 2, 1], [0, 0, 0], [1, 0, 0]]


def test_share_kept() -> None:
    before, after = {"a": [1, 2], "b": [3, 4], "gone": [5]}, {"a": [2, 1], "b": [4, 9], "new": [1]}
    assert share_kept(before, after) == 3 / 4
    assert math.isnan(share_kept({}, after))
