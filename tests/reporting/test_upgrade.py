"""The table of prompts that are used on their model's successor."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import parse_test_res
from tests.reporting.tree import write_full_run

PAIR = "upgrade/old-to-new"
# by part, of seeds 1 and 2
COOP = {"A_to_A": (70, 72), "A_to_B": (64, 70), "B_to_B": (80, 82), "A_to_B_words": (65, 66)}
PLAIN = {"A_to_A": (60, 60), "B_to_B": (62, 63)}


def write(
    root: Path, parts: dict[str, tuple[float, ...]], trainer: str, dataset: str = "DTD", add: float = 0.0
) -> None:
    for part, accuracies in parts.items():
        label = (
            "demo" if trainer.startswith("Zero") or part[0] == part[-1] else f"demo-from-{dataset.lower()}"
        )
        for seed, accuracy in enumerate(accuracies, 1):
            place = f"{PAIR}/{part}/{dataset.lower()}"
            write_full_run(root, place, trainer, seed, accuracy + add, dataset=dataset, cfg=label)


def table(root: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    capsys.readouterr()
    assert parse_test_res.main([str(root), "--upgrade", "--format", "csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_gain_and_recovery_are_over_zero_shot_on_the_new_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, COOP, "CoOp")
    write(tmp_path, PLAIN, "ZeroshotCLIP")
    (row,) = table(tmp_path, capsys)
    assert (row["dataset"], row["method"]) == ("DTD", "CoOp")
    found = {
        name: float(row[name])
        for name in ("zero_shot_old", "old", "zero_shot_new", "moved", "new", "gain", "words")
    }
    expected = {
        "zero_shot_old": 60,
        "old": 71,
        "zero_shot_new": 62.5,
        "moved": 67,
        "new": 81,
        "gain": 4.5,
        "words": 65.5,
    }
    assert found == pytest.approx(expected)
    assert float(row["gain_std"]) == pytest.approx(((2 - 4.5) ** 2 + (7 - 4.5) ** 2) ** 0.5), "by seed"
    assert float(row["recovery"]) == pytest.approx(4.5 / (81 - 62.5))


def test_where_tuning_gains_nothing_there_is_nothing_to_recover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {**COOP, "B_to_B": (62, 62)}, "CoOp")
    write(tmp_path, PLAIN, "ZeroshotCLIP")
    (row,) = table(tmp_path, capsys)
    assert row["recovery"] == "" and float(row["gain"]) == pytest.approx(4.5)


def test_averages_are_over_the_data_sets_of_a_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dataset, add in (("DTD", 0.0), ("EuroSAT", 6.0)):
        write(tmp_path, COOP, "CoOp", dataset, add)
        write(tmp_path, PLAIN, "ZeroshotCLIP", dataset, add / 2)
    rows = table(tmp_path, capsys)
    assert [row["dataset"] for row in rows] == ["DTD", "EuroSAT", "average of 2"]
    assert float(rows[2]["gain"]) == pytest.approx((4.5 + 7.5) / 2)
    assert float(rows[2]["moved"]) == pytest.approx(70)


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {**COOP, "A_to_B": (64,)}, "CoOp")
    write(tmp_path, PLAIN, "ZeroshotCLIP")
    assert parse_test_res.main([str(tmp_path), "--upgrade"]) == 0
    shown = capsys.readouterr().out
    assert "Incomplete: DTD, CoOp, seed 2: A_to_B missing." in shown and "64.00 [1/2]" in shown
    assert "A: old; B: new." in shown


def test_folders_without_an_upgrade(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_test_res.main([str(tmp_path), "--upgrade"]) == 2
    assert "holds a run of the upgrade protocol" in capsys.readouterr().err
