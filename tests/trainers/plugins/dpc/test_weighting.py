from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.reference import dpc as reference
from trainers.plugins.dpc.readings import DIRECT, PAPER, READINGS, RELEASED, Reading
from trainers.plugins.dpc.weighting import DualPrompts, Rule, decouple, weight

WEIGHTS = (0.05, 0.2, 0.5, 1.0)


def dual_prompts(learner: nn.Module, w_b: float, w_n: float, reading: Reading) -> DualPrompts:
    return DualPrompts(learner, lambda name: reading.rule(name, w_b, w_n))


class Learner(nn.Module):
    """Prompts of all kinds: a bare tensor, a list, a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.ctx = nn.Parameter(torch.randn(2, 3))
        self.deep = nn.ParameterList([torch.randn(2, 3), torch.randn(2, 3)])
        self.proj = nn.Linear(3, 4)

    def forward(self) -> Tensor:
        return self.proj(self.ctx + self.deep[0] + self.deep[1]).square().sum()


@pytest.mark.parametrize("w", WEIGHTS)
def test_decouple_inverts_weight(w: float) -> None:
    parallel, tuned = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(decouple(weight(parallel, tuned, w), tuned, w), parallel)
    np.testing.assert_allclose(
        weight(parallel, tuned, w), reference.mixed(parallel.numpy(), tuned.numpy(), w)
    )


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_every_tensor_of_the_module_becomes_dual_and_starts_as_its_clone(reading: Reading) -> None:
    learner = Learner()
    before = {name: value.clone() for name, value in learner.named_parameters()}
    dual = dual_prompts(learner, 0.2, 1e-6, reading)
    assert len(list(learner.parameters())) == len(before) == 5
    for mode in ("parallel", "base", "new", "tuned"):
        dual.show(mode)
        for shown, value in (
            (learner.ctx, before["ctx"]),
            (learner.deep[1], before["deep.1"]),
            (learner.proj.weight, before["proj.weight"]),
            (learner.proj.bias, before["proj.bias"]),
        ):
            torch.testing.assert_close(shown, value, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("w", WEIGHTS)
@pytest.mark.parametrize(("reading", "power"), [(PAPER, 2), (RELEASED, 1), (DIRECT, 0)])
def test_step_of_the_parallel_prompt_per_unit_gradient(reading: Reading, power: int, w: float) -> None:
    """Plain SGD moves P' by lr / w_b^2 in "paper", lr / w_b in "released" and lr in "direct"; P stays."""
    learner = Learner().double()
    tuned = learner.ctx.detach().clone()
    dual = dual_prompts(learner, w, 1e-6, reading)
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.1)
    direction = torch.randn(2, 3, dtype=torch.float64)
    (learner.ctx * direction).sum().backward()
    optimiser.step()
    torch.testing.assert_close(learner.ctx, tuned - 0.1 / w**power * direction)
    if reading is PAPER:
        expected = reference.sgd_on_mixed_prompt(tuned.numpy(), direction.numpy(), 0.1, w)
        np.testing.assert_allclose(learner.ctx.detach(), expected, rtol=1e-9)
    dual.show("tuned")
    assert torch.equal(learner.ctx, tuned)


@pytest.mark.parametrize(("reading", "base_weight"), [(PAPER, 0.2), (RELEASED, 1.0), (DIRECT, 0.2)])
def test_what_base_and_new_classes_see(reading: Reading, base_weight: float) -> None:
    learner = Learner()
    tuned = learner.ctx.detach().clone()
    dual = dual_prompts(learner, 0.2, 0.3, reading)
    leaf = learner.parametrizations.ctx.original
    leaf.data += 1.0
    parallel = learner.ctx.detach().clone()
    with dual.showing("base"):
        torch.testing.assert_close(learner.ctx, weight(parallel, tuned, base_weight), atol=1e-5, rtol=1e-5)
    with dual.showing("new"):
        torch.testing.assert_close(learner.ctx, weight(parallel, tuned, 0.3), atol=1e-5, rtol=1e-5)
    assert torch.equal(learner.ctx, parallel)  # training's view is back


def test_reweight_keeps_the_parallel_prompt() -> None:
    learner = Learner().double()
    dual = dual_prompts(learner, 0.5, 1e-6, PAPER)
    tuned = learner.ctx.detach().clone()
    stored = tuned + 0.2 * torch.ones(2, 3, dtype=torch.float64)  # P' = P + 1, mixed with w_b = 0.2
    learner.parametrizations.ctx.original.data.copy_(stored)
    with torch.no_grad():
        for part in (learner.deep, learner.proj):
            for leaf in part.parameters():
                leaf.data += 0.0
    dual.reweight(lambda name: PAPER.rule(name, 0.2, 1e-6))
    torch.testing.assert_close(learner.ctx.detach(), tuned + 1)
    with dual.showing("base"):
        torch.testing.assert_close(learner.ctx.detach(), tuned + 0.5)


def test_reweight_goes_by_the_weights_of_each_tensor() -> None:
    """A tensor whose weight a reading fixes keeps its leaf, whatever w_b was and is."""

    def rules(w_b: float) -> Callable[[str], Rule]:
        return lambda name: PAPER.rule(name, 1.0 if name.startswith("proj") else w_b, 1e-6)

    learner = Learner().double()
    dual = DualPrompts(learner, rules(0.5))
    with torch.no_grad():
        for leaf in learner.parameters():
            leaf += 1
    dual.reweight(rules(0.5))
    assert all(torch.equal(leaf, part.tuned + 1) for part, leaf in dual._parts.values())
    dual.reweight(rules(0.2))
    for name, (part, leaf) in dual._parts.items():
        changed = 1.0 if name.startswith("proj") else 0.5 / 0.2  # stored as if under w_b = 0.2
        torch.testing.assert_close(leaf.detach(), part.tuned + changed)
