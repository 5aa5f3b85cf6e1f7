"""Calibration error and reliability from results."""

from __future__ import annotations

from pathlib import Path

import pytest

import parse_test_res
from reporting.calibration import calibration_table, pooled_bins, reliability_figure
from tests.reporting.tree import write_full_run


def write(
    root: Path, trainer: str, seed: int, pair: tuple[float, float], cfg: str = "demo", **more: object
) -> None:
    for part, subset, ece in zip(("train_base", "test_new"), ("base", "new"), pair, strict=True):
        metrics = {"accuracy": 80.0, "ece": ece, "macro_accuracy": 70.0 if subset == "base" else 50.0}
        write_full_run(
            root, f"base2new/{part}/eurosat", trainer, seed, 80.0, subset=subset, cfg=cfg, metrics=metrics,
            reliability=[[10, 0.95, 0.5 + ece / 100]], **more,
        )  # fmt: skip


def test_errors_and_what_a_plug_in_adds(tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path, "CoOp", seed, (4.0, 6.0 + seed))
        write(tmp_path, "CoOp_DPC", seed, (9.0 + seed, 6.0 + seed), "demo-released")
    table = calibration_table(tmp_path)
    assert [column.title for column in table.columns][2:6] == [
        "ECE base",
        "ECE new",
        "Δ ECE base",
        "Δ ECE new",
    ]
    plain, ours = table.rows
    assert (plain[2].mean, plain[3].mean, plain[4]) == (4.0, 7.5, None)
    assert (ours[2].mean, ours[4].mean, ours[5].mean) == (10.5, 6.5, 0.0)


def test_a_result_without_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_full_run(tmp_path, "base2new/train_base/eurosat", "CoOp", 3, 80.0, subset="base")
    assert parse_test_res.main([str(tmp_path), "--calibration"]) == 2
    assert "CoOp on EuroSAT, seed 3, has no ece" in capsys.readouterr().err


def test_bins_of_all_seeds_together() -> None:
    found = pooled_bins([[[10, 0.95, 0.5], [2, 0.1, 0.5]], [[30, 0.97, 0.9]]])
    assert found == [(pytest.approx(0.1), 0.5, 2), (pytest.approx(0.965), pytest.approx(0.8), 40)]
    assert pooled_bins([]) == [] and pooled_bins([[[1, 1.0, 1.0]]]) == [(1.0, 1.0, 1)]


def test_the_diagram(tmp_path: Path) -> None:
    write(tmp_path, "CoOp", 1, (4.0, 7.0))
    write(tmp_path, "CoOp_DPC", 1, (9.0, 7.0), "demo-released")
    axes = reliability_figure(tmp_path).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["EuroSAT, base classes", "EuroSAT, new classes"]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes[0].lines}
    assert drawn["CoOp"] == [[95.0, pytest.approx(54)]]
    assert drawn["CoOp + DPC (released)"] == [[95.0, pytest.approx(59)]]


def test_other_measures_take_the_place_of_accuracy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "CoOp", 1, (4.0, 7.0))
    assert parse_test_res.main([str(tmp_path), "--base-new", "--measure", "macro_accuracy"]) == 0
    out = capsys.readouterr().out
    assert " 70.00 | 50.00 | 58.33 |" in out and "macro_accuracy in %" in out
    with pytest.raises(SystemExit):
        parse_test_res.main([str(tmp_path), "--base-new", "--measure", "macro_f1", "--paper"])
    assert "the paper prints no other measure" in capsys.readouterr().err
