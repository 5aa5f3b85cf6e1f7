from __future__ import annotations

import numpy as np
import pytest
import torch

from clip import similarity_logits
from tests.reference import dpc as reference
from trainers.plugins.dpc.loss import contrastive_loss


@pytest.mark.parametrize("size", [1, 2, 7])
def test_equals_the_equations(size: int) -> None:
    rng = np.random.default_rng(size)
    images, texts = rng.standard_normal((size, 5)), rng.standard_normal((size, 5))
    logits = similarity_logits(torch.from_numpy(images), torch.from_numpy(texts), torch.tensor(10.0))
    expected = reference.contrastive_loss(images, texts, temperature=0.1)
    assert contrastive_loss(logits).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert contrastive_loss(logits, "mean").item() == pytest.approx(expected / 2, rel=1e-9, abs=1e-12)


def test_one_pair_has_nothing_to_learn() -> None:
    logits = torch.tensor([[3.0]], requires_grad=True)
    contrastive_loss(logits).backward()
    assert logits.grad is not None and logits.grad.item() == 0


def test_order_of_the_pairs_does_not_matter_but_their_match_does() -> None:
    logits = torch.randn(6, 6)
    order = torch.randperm(6)
    shuffled = contrastive_loss(logits[order][:, order])
    torch.testing.assert_close(shuffled, contrastive_loss(logits))
    assert not torch.isclose(contrastive_loss(logits.roll(1, 0)), shuffled)
