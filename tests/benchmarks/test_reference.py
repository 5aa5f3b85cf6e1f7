"""The benchmark compares like with like: its plain path computes the numbers that the trainers compute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.measure import Cost, measure, scaled_up
from benchmarks.meters import PeakMemory
from benchmarks.reference import Path77
from benchmarks.step_time import (
    CONFIGS,
    DEFAULT_METHODS,
    make_trainer,
    parse_args,
    prepare,
    spread_out,
    training_steps,
)
from tests.conftest import TINY
from trainers.plugins.dpc.batches import Ranking

CPU = torch.device("cpu")
CLASSES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("benchmark")
    prepare(path, TINY)
    return path


@pytest.mark.parametrize("method", CONFIGS)
def test_a_plain_step_is_the_projects(method, folder):
    """Same loss and the same gradients, with prompts that have left their starting values."""
    trainer = make_trainer(method, CLASSES, folder, "cpu", "INPUT.SIZE", "(32, 32)")
    steps = training_steps(trainer)
    leaves = list(trainer.model.prompt_learner.parameters())
    torch.manual_seed(1)
    with torch.no_grad():
        for leaf in leaves:
            leaf += 0.02 * torch.randn_like(leaf)
    batch = next(steps)

    ours = sum(trainer.compute_loss(batch).losses.values())
    plain = Path77(trainer).loss(batch)
    torch.testing.assert_close(plain, ours, atol=1e-4, rtol=1e-4)
    expected, found = (
        torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, leaves)]) for loss in (ours, plain)
    )
    assert (expected - found).norm() < 1e-3 * expected.norm()


def test_a_plain_step_costs_more_and_moves_the_prompt(folder):
    trainer = make_trainer("MaPLe_DPC", CLASSES, folder, "cpu", "INPUT.SIZE", "(32, 32)")
    batches = training_steps(trainer)
    ours = measure(lambda: len(trainer.forward_backward(next(batches))) and 1, 1, 1, CPU)
    before = trainer.model.prompt_learner.proj.weight.detach().clone()
    batch = next(batches)
    plain = measure(lambda: Path77(trainer).step(batch), 1, 0, CPU)
    assert plain.pairs == len(batch["label"])
    assert plain.text_flops > 4 * ours.text_flops > 0
    # the image tower: one of its two blocks computes one token instead of all
    assert 1.1 < (plain.flops - plain.text_flops) / (ours.flops - ours.text_flops) < 2
    assert not torch.equal(before, trainer.model.prompt_learner.proj.weight)


def test_all_means_every_method():
    assert parse_args(["--methods", "all"]).methods == list(CONFIGS)
    assert parse_args([]).methods == DEFAULT_METHODS


def test_scaling_up_keeps_what_does_not_grow_with_the_classes():
    def cost(n: int) -> Cost:
        """1 TFLOP and 1 GB whatever n; 10 GFLOP and 10 MB a class; 1 TFLOP a second."""
        return Cost(1 + 0.01 * n, 1e12 + n * 1e10, n * 1e10, 1e9 + n * 1e7, 32)

    scaled = scaled_up(cost(50), cost(100), 100, 500)
    assert scaled[:5] == pytest.approx(cost(500)[:5])
    assert scaled.scaled_from == 100


def test_a_measurement_leaves_the_warm_up_out():
    sizes = iter([8, 4, 2])

    def step() -> int:
        size = next(sizes)
        torch.ones(size, 10) @ torch.ones(10, 10)
        return size

    cost = measure(step, steps=2, warmup=1, device=CPU)
    assert (cost.pairs, cost.flops, cost.text_flops) == (3, 600, 600)


def test_each_image_gets_a_top_k_of_its_own():
    features = torch.randn(4, 8)
    ranking = spread_out(Ranking(torch.zeros(4, 50), features))
    tops = ranking.scores.topk(8).indices.flatten().tolist()
    assert len(set(tops)) == 32
    assert ranking.features is features


def test_the_memory_meter_sees_a_peak_that_is_gone():
    meter = PeakMemory(CPU)
    before = meter.peak()
    block = torch.ones(64 * 1024 * 1024)  # 256 MB
    assert block[0] == 1
    del block
    assert meter.peak() - before > 200e6
