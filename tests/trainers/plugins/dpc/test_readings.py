"""What ``TRAINER.DPC.VARIANT`` can name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from trainers.plugins.dpc import READINGS, Reading, register
from trainers.plugins.dpc.options import check_options
from trainers.plugins.dpc.readings import DIRECT, PAPER, RELEASED
from trainers.plugins.dpc.weighting import ParallelLeaf
from trainers.promptkd.dpc import _RELEASED, ReleasedStudent


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten behind it."""
    before = dict(READINGS)
    yield
    READINGS.clear()
    READINGS.update(before)


@pytest.mark.parametrize(
    ("reading", "differences"),
    [
        (PAPER, (True, "sum", "fewshot", False, False, True)),
        (DIRECT, (True, "sum", "fewshot", False, False, True)),
        (RELEASED, (False, "mean", "train", True, True, True)),
        (_RELEASED, (False, "mean", "train", True, True, False)),
    ],
)
def test_how_the_readings_differ(reading: Reading, differences: tuple[Any, ...]) -> None:
    found = (
        reading.mixes_base,
        reading.reduction,
        reading.pool,
        reading.keeps_duplicates,
        reading.fills_up,
        reading.augments_negatives,
    )
    assert found == differences
    assert reading.limits(8) == ((8, 2) if reading.fills_up else (7, 0))


@pytest.mark.parametrize(
    ("name", "step_factor"), [("paper", 1 / 0.2**2), ("released", 1 / 0.2), ("direct", 1.0)]
)
def test_how_far_a_step_moves_the_parallel_prompt(name: str, step_factor: float) -> None:
    """By lr / w_b^2, lr / w_b and lr: the paper's leaf goes through the inverse of its own mixing."""
    leaf_rule = READINGS[name].leaf
    tuned = torch.tensor([1.0, -2.0], dtype=torch.double)
    parallel = torch.tensor([1.5, 0.5], dtype=torch.double)
    leaf = leaf_rule.store(parallel, tuned, 0.2).clone().requires_grad_()
    torch.testing.assert_close(leaf_rule.parallel(leaf, tuned, 0.2), parallel)
    torch.testing.assert_close(leaf_rule.mixed(leaf, tuned, 0.2), 0.2 * parallel + 0.8 * tuned)
    slope = torch.tensor([3.0, -1.0], dtype=torch.double)
    (leaf_rule.parallel(leaf, tuned, 0.2) * slope).sum().backward()
    with torch.no_grad():
        leaf -= 0.1 * leaf.grad
    moved = leaf_rule.parallel(leaf, tuned, 0.2).detach()
    torch.testing.assert_close(moved, parallel - 0.1 * step_factor * slope)


def test_the_released_student_weighs_the_text_context_alone() -> None:
    def weights(name: str) -> tuple[float, float]:
        rule = _RELEASED.rule(name, 0.2, 1e-6)
        return rule.weight_base, rule.weight_new

    assert isinstance(_RELEASED, ReleasedStudent) and _RELEASED.name == "released"
    assert weights("ctx") == (0.2, 0.0)
    assert weights("text_deep.0") == (1.0, 0.0)
    assert weights("vision") == weights("vision_deep.0") == (1.0, 1e-6)
    assert weights("projection.0.weight") == (1.0, 0.0)


def test_two_of_one_name_are_refused(readings: None) -> None:
    mine = register(Reading("mine", ParallelLeaf(), reduction="mean"))
    assert READINGS["mine"] is mine and register(mine) is mine
    with pytest.raises(ValueError, match="another reading of DPC is called 'mine'"):
        register(replace(mine, reduction="sum"))
    with pytest.raises(ValueError, match="another reading of DPC is called 'paper'"):
        register(replace(PAPER))
    assert READINGS["mine"] is mine and READINGS["paper"] is PAPER


def test_one_of_ones_own_can_be_named(build: Any, tmp_path: Path, readings: None) -> None:
    fp32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TEST.NO_TEST", "True")
    build("CoOp", *fp32, output=tmp_path / "coop").train()
    dpc = (*fp32, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop"), "TRAINER.DPC.VARIANT", "mine")
    with pytest.raises(ValueError, match=r"VARIANT is 'mine'; it must be one of paper, released, direct"):
        build("CoOp_DPC", *dpc)
    mine = register(Reading("mine", ParallelLeaf(), mixes_base=False))
    trainer = build("CoOp_DPC", *dpc, output=tmp_path / "dpc")
    assert trainer.reading is mine
    trainer.train()
    [path] = (tmp_path / "dpc/prompt_learner").glob("model.pth.tar-*")
    assert torch.load(path)["dpc"]["variant"] == "mine"
    other = build("CoOp_DPC", *dpc)
    other.load_model(str(tmp_path / "dpc"), epoch=-1)
    other.set_model_mode("eval")
    assert torch.equal(other.model.prompt_learner.ctx, torch.load(path)["state_dict"]["ctx"])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("VARIANT", "papr", "VARIANT is 'papr'; it must be one of paper, released, direct"),
        ("NEGATIVE_POOL", "test", "NEGATIVE_POOL is 'test'; it must be one of auto, fewshot, train"),
        ("WEIGHT_BASE", 1.01, "must be w_b in"),
        ("WEIGHT_BASE", -0.01, "must be w_b in"),
        ("WEIGHT_NEW", 1.01, "must be w_n in"),
        ("WEIGHT_NEW", -0.01, "must be w_n in"),
        ("TOPK", 1, "it must be a whole number from 2 on"),
        ("BACKBONE_DIR", "", "Train CoOp first"),
    ],
)
def test_what_makes_no_sense_is_refused(option: str, value: Any, message: str) -> None:
    options = train.default_cfg().TRAINER.DPC
    options.BACKBONE_DIR = "somewhere"
    for good in ({}, {"WEIGHT_BASE": 0.0}, {"WEIGHT_BASE": 1.0}, {"WEIGHT_NEW": 0.0}, {"TOPK": 2}):
        check_options(type(options)({**options, **good}), "CoOp")
    options[option] = value
    with pytest.raises(ValueError, match=message):
        check_options(options, "CoOp")
