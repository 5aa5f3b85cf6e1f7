"""The worked example of docs/own_method.md: a file of the CoOp family and its port, as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import clip
from dassl.engine import TRAINER_REGISTRY
from tests.conftest import ROOT
from trainers.core.door import load_clip
from trainers.plugins import on_top
from trainers.plugins.dpc import DPC

PAGE = (ROOT / "docs/own_method.md").read_text()
WORDS = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.CTX_INIT", "a photo of a", "OPTIM.LR", "0.1")


class TextEncoder(nn.Module):
    """What the family's coop.py has under this name, on our CLIP."""

    def __init__(self, clip_model: Any) -> None:
        super().__init__()
        self.clip_model = clip_model

    def forward(self, prompts: torch.Tensor, tokenized_prompts: torch.Tensor) -> torch.Tensor:
        return self.clip_model.encode_embeddings(prompts, tokenized_prompts.argmax(dim=-1))


def run(name: str, **more: Any) -> None:
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    exec(compile(found[1], f"own_method.md, {name}", "exec"), {"__name__": f"example_{name}", **more})


@pytest.fixture(autouse=True)
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers both trainers, and DPC on the port, for one test."""
    theirs, coop = ModuleType("theirs"), ModuleType("theirs.coop")
    coop.TextEncoder, coop.load_clip_to_cpu = TextEncoder, load_clip  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", theirs)
    monkeypatch.setitem(sys.modules, "theirs.coop", coop)
    monkeypatch.setattr(clip, "clip", clip, raising=False)
    before = set(TRAINER_REGISTRY._objects)
    run("before", __package__="theirs")
    run("after")
    on_top(DPC, TRAINER_REGISTRY.get("Offset"))
    yield
    for name in set(TRAINER_REGISTRY._objects) - before:
        del TRAINER_REGISTRY._objects[name]


def trained(build: Callable[..., Any], name: str, folder: Path, *more: str) -> tuple[Any, list[float]]:
    """A trainer, and the losses of its steps."""
    trainer = build(name, *WORDS, "TEST.NO_TEST", "True", *more, output=folder)
    losses: list[float] = []
    step = trainer.forward_backward

    def counted(batch: Any) -> Any:
        found = step(batch)
        losses.append(float(found["loss"]))
        return found

    trainer.forward_backward = counted
    trainer.train()
    return trainer, losses


def test_the_port_takes_the_steps_of_the_original(build: Callable[..., Any], tmp_path: Path) -> None:
    theirs, their_losses = trained(build, "TheirOffset", tmp_path / "theirs")
    ours, our_losses = trained(build, "Offset", tmp_path / "ours")
    assert len(our_losses) > 2 and our_losses == pytest.approx(their_losses, abs=1e-5)
    for name in ("ctx", "offset"):
        one, two = (getattr(t.model.prompt_learner, name).detach() for t in (theirs, ours))
        torch.testing.assert_close(two, one, atol=1e-5, rtol=1e-4)
    assert ours.model.prompt_learner.offset.abs().max() > 1e-3  # it was tuned

    again = build("Offset", *WORDS, output=tmp_path / "again")
    again.load_model(str(tmp_path / "theirs"), epoch=2)  # a file of the old code
    assert torch.equal(again.model.prompt_learner.offset, theirs.model.prompt_learner.offset)


def test_dpc_follows_by_itself(build: Callable[..., Any], tmp_path: Path) -> None:
    trained(build, "Offset", tmp_path / "ours")
    dpc, _ = trained(
        build, "Offset_DPC", tmp_path / "dpc", "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "ours")
    )
    assert set(dpc.model.prompt_learner.tuned_tensors()) == {"ctx", "offset"}
