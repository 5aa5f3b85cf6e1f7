"""The worked example of docs/add_a_backbone.md, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dassl.engine import TRAINER_REGISTRY
from tests.conftest import ROOT

NAMES = ("KgCoOp", "KgCoOp_DPC")


@pytest.fixture
def example() -> Any:
    """Registers the example's trainers, for one test."""
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/add_a_backbone.md").read_text(), re.DOTALL)
    exec(compile(code, "add_a_backbone.md", "exec"), {"__name__": "example"})
    yield code
    for name in NAMES:
        del TRAINER_REGISTRY._objects[name]


def test_dpc_costs_at_most_twenty_lines(example: str) -> None:
    own = example[example.index("class KgCoOp_DPC") :]
    assert len(own.strip().splitlines()) + 1 <= 20


def test_it_trains_and_dpc_trains_on_it(example: str, build: Callable[..., Any], tmp_path: Path) -> None:
    backbone = build("KgCoOp", output=tmp_path / "backbone")
    start = backbone.model.prompt_learner.ctx.detach().clone()
    backbone.train()
    assert not torch.equal(start, backbone.model.prompt_learner.ctx)
    dpc = build("KgCoOp_DPC", "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "backbone"), output=tmp_path / "dpc")
    dpc.set_model_mode("train")
    batch = next(iter(dpc.train_loader_x))
    dpc.before_train()
    losses = dpc.compute_loss({**batch, "query_features": None}).losses
    assert set(losses) == {"loss_cl", "loss_kg"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    dpc.train()
    assert (tmp_path / "dpc/prompt_learner/model.pth.tar-2").exists()
