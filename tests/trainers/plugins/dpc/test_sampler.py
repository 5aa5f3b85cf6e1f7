from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from trainers.plugins.dpc.readings import PAPER, RELEASED, Reading
from trainers.plugins.dpc.sampler import first_of_each, hard_negatives


def negatives_of(
    scores: torch.Tensor, labels: list[int], k: int, reading: Reading = PAPER, seed: int = 0
) -> list[list[int]]:
    return hard_negatives(scores, labels, k, reading.limits(k), random.Random(seed))


SCORES = torch.tensor([[0.9, 0.8, 0.7, 0.1, 0.0, 0.0], [0.0, 0.9, 0.8, 0.7, 0.1, 0.0]])


def test_top_k_without_the_true_class() -> None:
    assert negatives_of(SCORES[:1], [0], 3) == [[1, 2]]


def test_true_class_outside_the_top_k() -> None:
    """The paper's K - 1 stay; the released code keeps all K."""
    assert negatives_of(SCORES[:1], [5], 3) == [[0, 1]]
    assert negatives_of(SCORES[:1], [5], 3, RELEASED) == [[0, 1, 2]]


def test_no_class_twice_in_a_mini_batch() -> None:
    # Image 0 takes 1 and 2; image 1 may take neither these nor the true classes.
    assert negatives_of(SCORES, [0, 3], 3) == [[1, 2], []]


def test_k_is_clamped_to_the_number_of_classes() -> None:
    assert sorted(negatives_of(SCORES[:1], [2], 50)[0]) == [0, 1, 3, 4, 5]


def test_degenerate_batches() -> None:
    assert negatives_of(torch.empty(0, 6), [], 3) == []
    assert negatives_of(torch.ones(1, 1), [0], 8) == [[]]
    assert negatives_of(torch.ones(1, 2), [0], 8, RELEASED) == [[1]]


def test_released_tops_up_to_two_with_classes_neither_first_nor_last() -> None:
    scores = torch.zeros(1, 20)
    scores[0, [4, 9]] = torch.tensor([1.0, 0.5])
    for seed in range(20):
        [negatives] = negatives_of(scores, [9], 2, RELEASED, seed)
        assert negatives[0] == 4 and len(negatives) == 2 and 1 <= negatives[1] <= 18


def test_first_of_each_keeps_batch_order() -> None:
    assert first_of_each(torch.tensor([3, 1, 3, 2, 1])).tolist() == [0, 1, 3]


@pytest.mark.parametrize("backbone", ["coop", "kd"])
def test_golden_batches(golden: Path, backbone: str) -> None:
    """Equal wherever no random class was drawn; a drawn one also decides what later images may take."""
    record = json.loads((golden / f"rec/dpc/sampler_{backbone}.json").read_text())
    whole = 0
    for case in record["cases"]:
        scores = (100 * torch.tensor(case["scores"])).softmax(dim=1)
        ours = negatives_of(scores, case["labels"], case["K"], RELEASED)
        ranked = scores.topk(min(case["K"], scores.shape[1]), dim=1).indices.tolist()
        expected = iter(case["out_labels"])
        held = set(case["labels"])
        for label, ranking, negatives in zip(case["labels"], ranked, ours, strict=True):
            assert next(expected) == label
            found = [c for c in ranking if c != label and c not in held]
            assert negatives[: len(found)] == found == [next(expected) for _ in found]
            held.update(found)
            if len(found) < 2:
                break
        else:
            whole += 1
            assert list(expected) == []
    assert whole >= 5, "some batches are compared as a whole"
