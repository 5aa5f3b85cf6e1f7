"""H of prompt learners and of plug-ins on them, as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import parse_test_res
from reporting.base_new import harmonic_mean, summarise_tree
from reporting.plots import plugin_figure
from tests.reporting.tree import write_base_new

# base and new by trainer
PAIRS = {"CoOp": (80.0, 60.0), "CoOp_DePT": (84.0, 60.0), "CoOp_DPC": (86.0, 60.0), "MaPLe": (82.0, 70.0)}


def write(root: Path, dataset: str, add: float = 0.0) -> None:
    for trainer, pair in {**PAIRS, "ZeroshotCLIP": (50.0, 50.0)}.items():
        for seed in (1, 2):
            cfg = "demo-released" if trainer.endswith("_DPC") else "demo"
            write_base_new(root, trainer, seed, [value + add for value in pair], dataset=dataset, cfg=cfg)


def bars(axis: Any) -> dict[str, dict[str, float]]:
    """By plug-in and learner, the height of each bar, found by where it stands."""
    names = [label.get_text() for label in axis.get_xticklabels()]
    found: dict[str, dict[str, float]] = {}
    for container in axis.containers:
        if hasattr(container, "patches"):
            places = [round(bar.get_x() + bar.get_width() / 2) for bar in container.patches]
            heights = [bar.get_height() for bar in container.patches]
            found[container.get_label()] = {names[i]: h for i, h in zip(places, heights, strict=True)}
    return found


def test_plug_ins_stand_beside_their_learner(tmp_path: Path) -> None:
    write(tmp_path, "DTD")
    write(tmp_path, "EuroSAT", 6.0)
    axes = plugin_figure(summarise_tree(tmp_path, average=True), "h").axes
    assert [axis.get_title(loc="left") for axis in axes] == ["DTD", "EuroSAT", "average of 2"]
    h = {name: harmonic_mean(*pair) for name, pair in PAIRS.items()}
    found = bars(axes[0])
    assert list(found) == ["alone", "+ DePT", "+ DPC (released)"]
    assert found["alone"] == pytest.approx({"CoOp": h["CoOp"], "MaPLe": h["MaPLe"]})
    assert found["+ DePT"] == pytest.approx({"CoOp": h["CoOp_DePT"]})
    assert found["+ DPC (released)"] == pytest.approx({"CoOp": h["CoOp_DPC"]})
    average = harmonic_mean(89.0, 63.0)  # of base and new, as the paper's
    assert bars(axes[2])["+ DPC (released)"]["CoOp"] == pytest.approx(average)


def test_the_picture_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "DTD")
    picture = tmp_path / "figure5.png"
    assert parse_test_res.main([str(tmp_path), "--base-new", "--plot-h", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG") and f"plot: {picture}" in capsys.readouterr().err


def test_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_base_new(tmp_path, "ZeroshotCLIP", 1, (50.0, 50.0), dataset="DTD")
    assert parse_test_res.main([str(tmp_path), "--base-new", "--plot-h", "x.png"]) == 2
    assert "--plot-h: no seed has both" in capsys.readouterr().err and not Path("x.png").exists()
    with pytest.raises(SystemExit):
        parse_test_res.main([str(tmp_path), "--xd", "--plot-h", "x.png"])
    assert "--plot-h goes with --base-new" in capsys.readouterr().err
