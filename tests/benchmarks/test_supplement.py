"""What DPC costs, and what Top-K makes of a mini-batch, of runs on the tiny CLIP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import supplement

FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TEST.NO_TEST", "True")


@pytest.fixture
def run(build: Callable[..., Any], tmp_path: Path) -> Path:
    build("CoOp", *FP32, output=tmp_path / "coop").train()
    options = (*FP32, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop"), "TRAINER.DPC.TOPK", "3")
    build("CoOp_DPC", *options, output=tmp_path / "dpc").train()
    return tmp_path / "dpc"


def test_a_learner_and_dpc_stand_in_pairs(
    run: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supplement, "in_a_process", supplement.evaluate)  # a start each takes seconds
    table = supplement.cost_table([run], str(data_root), 2)
    plain, ours = table.rows
    tuned = 4 * 64
    assert plain[:3] == ["CoOp", tuned, tuned] and ours[:3] == ["CoOp_DPC", tuned, 2 * tuned]
    assert all(row[3].n == 2 and row[3].mean > 0 and row[4].mean > 50 for row in table.rows)


def test_top_k_clamps_and_counts(run: Path, data_root: Path) -> None:
    table = supplement.topk_table(run, str(data_root))
    found = {(row[0], row[1]): [cell.mean for cell in row[2:]] for row in table.rows}
    assert list(found) == [(name, k) for name in ("released", "paper") for k in (2, 3)]  # of 3 classes
    for name in ("released", "paper"):
        assert found[name, 3][0] == 100.0 >= found[name, 2][0]
    # with all three classes every mini-batch of the paper's reading is one image of each
    assert found["paper", 3][2] == 3.0


def test_a_failed_process_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the evaluation of .* failed: .*is not the output folder"):
        supplement.in_a_process(tmp_path, "data")
