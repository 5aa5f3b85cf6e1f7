"""Checkpoints that are none, for all that torch reads them; numbers that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dassl.engine.testing import check_logits
from dassl.utils import load_checkpoint
from tests.dassl.tiny import tiny_trainer, write_images

GOOD = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("state_dict", 5),
        ("state_dict", [GOOD]),
        ("state_dict", {1: GOOD}),
        ("state_dict", {"ctx": GOOD.to_sparse()}),
        ("state_dict", {"ctx": GOOD.to("meta")}),
        ("state_dict", {"ctx": GOOD.to(torch.complex64)}),
        ("state_dict", {"ctx": torch.quantize_per_tensor(GOOD, 0.1, 0, torch.qint8)}),
        ("epoch", "1"),
        ("epoch", -1),
        ("settings", {"SEED": "{"}),
        ("settings", ["SEED"]),
        ("classnames", [1]),
        ("trainer", 3),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_checkpoint_is_refused_by_entry(entry: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar-1"
    torch.save({"state_dict": {"ctx": GOOD}, "epoch": 1, "settings": {"SEED": "1"}}, path)
    assert load_checkpoint(str(path))["epoch"] == 1
    torch.save({"state_dict": {"ctx": GOOD}, "epoch": 1, entry: value}, path)
    with pytest.raises(ValueError, match=r"model.pth.tar-1' is damaged or not a checkpoint"):
        load_checkpoint(str(path))


@pytest.mark.parametrize("lost", ["best_result", "extra", "rng", "models"])
def test_a_resume_file_that_lacks_something(lost: str, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    trainer = tiny_trainer(tmp_path / "run", tmp_path / "images")
    trainer.save_resume_point(0)
    path = tmp_path / "run/resume.pth.tar"
    state = torch.load(path)
    torch.save({key: part for key, part in state.items() if key != lost}, path)
    with pytest.raises(ValueError, match=f"it lacks {lost}"):
        trainer.train()
    torch.save({**state, lost: 7}, path)
    if lost in ("rng", "models"):
        with pytest.raises(ValueError, match=r"resume.pth.tar' is damaged"):
            trainer.train()


def test_logits_that_are_none_are_named() -> None:
    logits = torch.zeros(3, 2)
    check_logits(logits, "abc")
    logits[0] = -torch.inf
    check_logits(logits, "abc")
    logits[1, 1] = torch.nan
    with pytest.raises(FloatingPointError, match="the logits of b are NaN"):
        check_logits(logits, "abc")
