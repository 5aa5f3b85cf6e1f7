"""Tables 3 to 5 of the DPC paper, from folders that say what was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import parse_test_res
from experiments.paper import TABLES
from experiments.plan import Plan
from experiments.protocols import Wishes
from reporting.ablations import ablation_table
from reporting.base_new import harmonic_mean
from reporting.paper import read_table
from tests.reporting.tree import progress, write_base_new

OFF = "demo+HARD_NEGATIVES=False+WEIGHTING=False+DECOUPLING=False-released"
ROWS = {
    OFF: (81.0, 61.0),
    "demo+WEIGHTING=False+DECOUPLING=False-released": (82.0, 62.0),
    "demo+DECOUPLING=False-released": (83.0, 63.0),
    "demo+HARD_NEGATIVES=False-released": (84.0, 64.0),
    "demo-released": (85.0, 65.0),
}


def write(root: Path, datasets: tuple[str, ...] = ("DTD", "EuroSAT")) -> None:
    for i, dataset in enumerate(datasets):
        for seed in (1, 2):
            write_base_new(root, "CoOp", seed, (10, 10), dataset=dataset)
            for label, pair in ROWS.items():
                own = [value + 2 * i + seed for value in pair]
                write_base_new(root, "CoOp_DPC", seed, own, dataset=dataset, cfg=label)


def test_rows_stand_in_the_papers_order_with_its_figures_on_the_average(tmp_path: Path) -> None:
    write(tmp_path)
    table = ablation_table(tmp_path, 3)
    assert [row[0] for row in table.rows] == ["DTD"] * 5 + ["EuroSAT"] * 5 + ["average of 2"] * 5
    assert [row[1][:3] for row in table.rows] == [f"({i})" for i in range(1, 6)] * 3
    base, paper, difference = table.rows[10][3:6]
    assert (base.mean, base.n) == (81 + 1 + 1.5, 2) and base.std == pytest.approx(0.5**0.5)
    assert (paper, difference) == (81.98, pytest.approx(83.5 - 81.98))
    assert table.rows[0][4] is None, "the paper's figure is an average"
    assert table.rows[14][3].mean == 87.5 and table.rows[14][7] == 68.84
    h = [harmonic_mean(85 + seed, 65 + seed) for seed in (1, 2)]
    assert table.rows[4][9].mean == pytest.approx(sum(h) / 2)


def test_time_is_a_ratio_to_the_first_row(tmp_path: Path) -> None:
    def steps(seconds: float) -> str:
        lines = [progress(epoch, batch, 1.0) for epoch in (1, 2) for batch in (10, 20)]
        return "".join(lines).replace("(0.018)", f"({seconds})")

    labels = (
        "demo",
        "demo+DATALOADER.TRAIN_X.BATCH_SIZE=8+TOPK=4",
        "demo+DATALOADER.TRAIN_X.BATCH_SIZE=16+TOPK=2",
    )
    for label, seconds in zip(labels, (0.030, 0.018, 0.012), strict=True):
        cfg = f"{label}-released"
        write_base_new(tmp_path, "CoOp_DPC", 1, (80, 60), dataset="DTD", cfg=cfg, log=steps(seconds))
    table = ablation_table(tmp_path, 4)
    time = [column.name for column in table.columns].index("time")
    assert [row[time].mean for row in table.rows] == [1, pytest.approx(0.6), pytest.approx(0.4)]
    assert [row[time + 1] for row in table.rows] == [1.0, 0.69, 0.59]


def test_a_learner_is_not_its_dpc_and_a_control_neither(tmp_path: Path) -> None:
    for label, pair in (("demo", (80, 60)), ("demo+OPTIM.MAX_EPOCH=5", (70, 75))):
        write_base_new(tmp_path, "CoOp", 1, pair, dataset="DTD", cfg=label)
        write_base_new(
            tmp_path, "CoOp_DPC", 1, (pair[0] + 5, pair[1]), dataset="DTD", cfg=f"{label}-released"
        )
        write_base_new(tmp_path, "CoOp_DPC", 1, (1, 1), dataset="DTD", cfg=f"{label}-two_step")
    found = [(row[1], row[2], row[3].mean) for row in ablation_table(tmp_path, 5).rows]
    assert found == [
        ("(1) 20 epochs", "CoOp", 80), ("(5) 5 epochs", "CoOp", 70),
        ("(2) 20 + 20 epochs", "CoOp + DPC (released)", 85),
        ("(6) 5 + 5 epochs", "CoOp + DPC (released)", 75),
    ]  # fmt: skip


def test_nothing_of_a_table_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_base_new(tmp_path, "MaPLe", 1, (80, 60))
    assert parse_test_res.main([str(tmp_path), "--ablation", "4"]) == 2
    assert "is one of the paper's Table 4" in capsys.readouterr().err


@pytest.mark.parametrize("number", [3, 4, 5])
def test_what_is_run_is_what_is_shown(tmp_path: Path, number: int) -> None:
    """Each row of the table is found again in the folders that its command makes."""
    runs = Plan(TABLES[number].runs([], [1], Wishes(output=tmp_path, demo=True))).runs.values()
    labels = {(run.trainer, run.folder.parent.name, run.data.name) for run in runs if run.trains}
    for trainer, label, dataset in labels:
        write_base_new(tmp_path, trainer, 1, (80, 60), dataset=dataset.capitalize(), cfg=label)
    shown = ablation_table(tmp_path, number).rows
    count = len(read_table(number))
    assert len(shown) == 3 * count and all(row[3].n == 1 for row in shown)
    if number == 3:
        (first,) = (
            run for run in runs if run.folder.parent.name == OFF and run.trains and run.data.name == "digits"
        )
        assert "TRAINER.DPC.DECOUPLING" in first.options and first.needs[0].trainer == "CoOp"
    if number == 5:
        (five,) = (
            run
            for run in runs
            if run.place.endswith("digits/shots_16/CoOp/demo+OPTIM.MAX_EPOCH=5/seed1") and run.trains
        )
        assert five.options == ("OPTIM.MAX_EPOCH", "5")
