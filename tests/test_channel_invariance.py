"""What DPC's tuning changed, from finished runs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import channel_invariance
from sweep_weights import trainer_of

Build = Callable[..., Any]
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TRAINER.MAPLE.PREC", "fp32")
LARGE = ("OPTIM.LR", "0.5", "DATASET.NUM_SHOTS", "4", "TRAINER.DPC.TOPK", "3", "TEST.NO_TEST", "True")
FILES = ("feature_maps", "class_similarity", "class_plane", "hard_negatives")


@pytest.fixture
def run(build: Build, tmp_path: Path) -> Callable[..., Path]:
    """run(method, seed) -> the folder of a run of DPC."""

    def make(method: str, seed: int = 1) -> Path:
        backbone, folder = tmp_path / f"{method}{seed}", tmp_path / f"{method}-dpc{seed}"
        build(method, *FP32, "TEST.NO_TEST", "True", output=backbone, seed=seed).train()
        options = (*FP32, *LARGE, "TRAINER.DPC.BACKBONE_DIR", str(backbone), "TRAINER.DPC.VARIANT", "paper")
        build(f"{method}_DPC", *options, output=folder, seed=seed).train()
        return folder

    return make


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_seeds_and_their_pictures(
    run: Callable[..., Path], data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [run("CoOp", seed) for seed in (1, 2)]
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    output = tmp_path / "found"
    words = [*map(str, folders), "--root", str(data_root), "--output", str(output), "--epochs", "2"]
    capsys.readouterr()
    assert channel_invariance.main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 and "corr other" in lines[0]
    for name in FILES:
        assert (output / "EuroSAT" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (output / "EuroSAT" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")} == before

    channels = rows(output / "channels.csv")
    assert [(row["seed"], row["row"]) for row in channels] == [(s, str(r)) for s in "12" for r in range(1, 5)]
    prompts = {s: trainer_of(folders[s - 1], None, str(data_root), "base", ()).dual_prompts for s in (1, 2)}
    tuned, parallel = prompts[1].tensors("tuned")["ctx"], prompts[1].tensors("parallel")["ctx"]
    other = prompts[2].tensors("parallel")["ctx"]
    for row, values in zip(channels[:4], zip(tuned, parallel, other, strict=True), strict=True):
        p, own, foreign = values
        assert float(row["move"]) == pytest.approx(float((own - p).norm() / p.norm()), rel=1e-5)
        assert float(row["corr"]) == pytest.approx(
            float(torch.corrcoef(torch.stack([p, own]))[0, 1]), abs=1e-5
        )
        expected = float(torch.corrcoef(torch.stack([p, foreign]))[0, 1])
        assert float(row["corr_other"]) == pytest.approx(expected, abs=1e-5)

    similar = [row for row in rows(output / "EuroSAT/class_similarity.csv") if row["prompt"] == "P"]
    assert [float(row[row["class"]]) for row in similar] == [pytest.approx(1, abs=1e-5)] * 3
    negatives = rows(output / "EuroSAT/hard_negatives.csv")
    assert len(negatives) == 2 * 3 and all(row[row["class"]] == "0" for row in negatives)
    # 4 images a class, each with both other classes among its Top-3
    assert all(
        int(value) == 4
        for row in negatives
        for key, value in row.items()
        if value != "0" and key not in ("epoch", "class")
    )


def test_one_run_of_several_tensors_has_no_other_seed(run: Callable[..., Path], data_root: Path) -> None:
    trainer = trainer_of(run("MaPLe"), None, str(data_root), "base", ())
    found = channel_invariance.prompts_of(trainer)
    assert set(found.tuned) == set(trainer.dual_prompts.names) and len(found.tuned) > 3
    measures = found.measures([])
    assert all(values["corr_other"].isnan().all() for values in measures.values())
    assert torch.equal(found.parallel["ctx"], trainer.dual_prompts.tensors("parallel")["ctx"].double())
    assert list(found.accuracy) == ["P", "P'", "random"]
    begun = found.initial["ctx"]
    assert (begun - found.tuned["ctx"]).norm() > 0 and begun.shape == found.tuned["ctx"].shape


def test_the_initial_prompt_is_what_its_own_run_began_with(
    run: Callable[..., Path], build: Build, data_root: Path
) -> None:
    trainer = trainer_of(run("CoOp"), None, str(data_root), "base", ())
    expected = build("CoOp", *FP32).model.prompt_learner.ctx
    found = channel_invariance.initial_prompts(trainer)["ctx"]
    assert found.shape == expected.shape  # random, so of the seed
    assert torch.equal(found, channel_invariance.initial_prompts(trainer)["ctx"])


def test_replaced_prompts_are_put_back(run: Callable[..., Path], data_root: Path) -> None:
    dual = trainer_of(run("CoOp"), None, str(data_root), "base", ()).dual_prompts
    before = dual.tensors("parallel")["ctx"]
    with dual.replaced({"ctx": torch.zeros_like(before)}):
        torch.testing.assert_close(
            dual.tensors("parallel")["ctx"], torch.zeros_like(before), atol=1e-6, rtol=0
        )
    assert torch.equal(dual.tensors("parallel")["ctx"], before)


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert channel_invariance.main([str(tmp_path), "--output", str(tmp_path / "x"), "--epochs", "0"]) == 1
    assert "--epochs is 0" in capsys.readouterr().err
    assert channel_invariance.main([str(tmp_path), "--output", str(tmp_path / "x")]) == 1
    assert "is not the output folder of a finished run" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
