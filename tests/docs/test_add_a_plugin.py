"""The worked example of docs/add_a_plugin.md, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dassl.engine import TRAINER_REGISTRY
from tests.conftest import ROOT

NAMES = ("CoOp_Sharp", "CoOp_DPC_Sharp")
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4")


@pytest.fixture(autouse=True)
def example() -> Iterator[None]:
    """Registers the example's trainers, for one test."""
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/add_a_plugin.md").read_text(), re.DOTALL)
    exec(compile(code, "add_a_plugin.md", "exec"), {"__name__": "example"})
    yield
    for name in NAMES:
        del TRAINER_REGISTRY._objects[name]


def logits_of(trainer: Any) -> torch.Tensor:
    trainer.start_test("test")
    images = torch.cat([batch["img"] for batch in trainer.test_loader])
    with torch.no_grad():
        return trainer.model_inference(images)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_in_front_of_a_learner_and_of_dpc(
    name: str, build: Callable[..., Any], tmp_path: Path
) -> None:
    options = [*FP32, "TEST.NO_TEST", "True"]
    if "DPC" in name:
        build("CoOp", *options, output=tmp_path / "coop").train()
        options += ["TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop")]
    trainer = build(name, *options, output=tmp_path / "run")
    assert isinstance(trainer, TRAINER_REGISTRY.get(name.removesuffix("_Sharp")))
    trainer.train()
    factor = trainer.model.prompt_learner.sharpness.detach().exp()
    assert factor != 1

    def tested(classes: str) -> torch.Tensor:
        other = build(name, *options, "DATASET.SUBSAMPLE_CLASSES", classes, output=tmp_path / classes)
        other.load_model(str(tmp_path / "run"), epoch=-1)
        found = logits_of(other)
        with torch.no_grad():
            other.model.prompt_learner.sharpness.zero_()
        return found / logits_of(other)

    torch.testing.assert_close(tested("base"), factor.expand(9, 3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tested("new"), torch.ones(9, 3))


def test_dpc_s_ranking_does_not_see_what_stands_in_front_of_it(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    build("CoOp", *FP32, "TEST.NO_TEST", "True", output=tmp_path / "coop").train()
    trainer = build("CoOp_DPC_Sharp", *FP32, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop"))
    trainer.before_train()
    trainer.set_model_mode("train")
    images = torch.randn(3, 3, 32, 32)
    before = trainer.rank(images).scores
    with torch.no_grad():
        trainer.model.prompt_learner.sharpness += 1
        trainer.model.prompt_learner.parametrizations.ctx.original += 1
    assert torch.equal(trainer.rank(images).scores, before)
