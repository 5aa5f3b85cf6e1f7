"""The benchmark compares like with like: its plain path computes the numbers that the trainers compute."""

from __future__ import annotations

import pytest
import torch
from yacs.config import CfgNode as CN

from benchmarks.measure import Cost, measure, scaled_up
from benchmarks.meters import PeakMemory, Stopwatch
from benchmarks.reference import CONTEXT, Path77
from benchmarks.step_time import spread_out
from trainers.base import PromptedCLIP
from trainers.coop import CoOp, CoOpLearner
from trainers.dpc.loader import Ranking

NAMES = ["forest", "annual crop land", "sea lake", "highway"]
CFG = CN({"OPTIM": {"LR": 0.1}, "DATALOADER": {"TRAIN_X": {"BATCH_SIZE": 2}}})


@pytest.fixture
def pair(tiny_clip):
    """The plain path and the project's model with the same prompts."""
    options = CoOp.OPTIONS["COOP"].clone()
    options.CTX_INIT = CONTEXT
    model = PromptedCLIP(tiny_clip, CoOpLearner(tiny_clip, NAMES, options))
    return Path77(tiny_clip, NAMES, CFG, Stopwatch(torch.device("cpu"))), model


def test_features_are_the_projects(pair):
    plain, model = pair
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(plain.text_features(plain.ctx), model.text_features(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        plain.image_features(images), model.image_features(images), atol=1e-5, rtol=1e-5
    )


def test_a_coop_step_moves_the_prompt_as_the_project_does(pair):
    plain, model = pair
    batch = {"img": torch.randn(4, 3, 32, 32), "label": torch.tensor([0, 1, 2, 3])}
    plain.coop_step(batch)
    optim = torch.optim.SGD(model.prompt_learner.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    torch.nn.functional.cross_entropy(model(batch["img"]), batch["label"]).backward()
    optim.step()
    moved = (plain.ctx - plain.tuned).norm()
    assert moved > 1e-3
    assert (plain.ctx - model.prompt_learner.ctx).norm() < 1e-3 * moved


def test_a_dpc_step_times_its_text_tower_and_moves_the_prompt(pair):
    plain, _ = pair
    plain.dpc_step({"img": torch.randn(3, 3, 32, 32), "label": torch.tensor([2, 0, 1])})
    assert plain.clock.total > 0
    assert not torch.equal(plain.ctx, plain.tuned)


def test_with_fewer_classes_labels_stay_in_range(pair):
    plain, _ = pair
    plain.use_classes(2)
    batch = plain.batch_for({"img": torch.randn(4, 3, 32, 32), "label": torch.tensor([0, 1, 2, 3])})
    assert batch["label"].tolist() == [0, 1, 0, 1]
    assert len(plain.text_features(plain.ctx)) == 2


def test_scaling_up_keeps_what_does_not_grow_with_the_classes():
    def cost(n: int) -> Cost:
        """3 s, 1 TFLOP and 1 GB whatever n; 0.1 s in the text tower, 10 GFLOP and 10 MB a class."""
        return Cost(3 + 0.1 * n, 0.1 * n, 1e12 + n * 1e10, 1e9 + n * 1e7, 32)

    scaled = scaled_up(cost(50), cost(100), 100, 500)
    assert scaled[:5] == pytest.approx(cost(500)[:5])
    assert scaled.scaled_from == 100


def test_a_measurement_leaves_the_warm_up_out():
    clock = Stopwatch(torch.device("cpu"))
    sizes = iter([8, 4, 2])

    def step() -> int:
        size = next(sizes)
        torch.ones(size, 10) @ torch.ones(10, 10)
        return size

    cost = measure(step, steps=2, warmup=1, clock=clock)
    assert (cost.pairs, cost.flops) == (3, 2 * 3 * 10 * 10)


def test_each_image_gets_a_top_k_of_its_own():
    features = torch.randn(4, 8)
    ranking = spread_out(Ranking(torch.zeros(4, 50), features))
    tops = ranking.scores.topk(8).indices.flatten().tolist()
    assert len(set(tops)) == 32
    assert ranking.features is features


def test_the_memory_meter_sees_a_peak_that_is_gone():
    meter = PeakMemory(torch.device("cpu"))
    before = meter.peak()
    block = torch.ones(64 * 1024 * 1024)  # 256 MB
    assert block[0] == 1
    del block
    assert meter.peak() - before > 200e6


def test_the_stopwatch_wraps_a_method_and_lets_go_of_it():
    clock = Stopwatch(torch.device("cpu"))

    class Owner:
        def work(self) -> int:
            return 7

    owner = Owner()
    with clock.wrapping(owner, "work"):
        assert owner.work() == 7
        assert clock.total > 0
    assert "work" not in vars(owner)
