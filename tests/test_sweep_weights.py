"""Sweeps over the weight of DPC's prompts: the same numbers as runs, without runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sweep_weights

Build = Callable[..., Any]
OPTIONS = {
    "CoOp": ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4"),
    "MaPLe": ("TRAINER.MAPLE.PREC", "fp32"),
}
# steps that are large enough to change what single images are taken for
LARGE = ("OPTIM.LR", "0.5", "DATASET.NUM_SHOTS", "4", "TRAINER.DPC.TOPK", "3", "TEST.NO_TEST", "True")


@pytest.fixture
def run(build: Build, tmp_path: Path) -> Callable[..., Path]:
    """run(method, reading, w_b) -> the folder of a run of DPC."""

    def make(method: str, reading: str = "paper", weight: str = "0.4") -> Path:
        backbone, folder = tmp_path / method, tmp_path / f"{method}-{reading}"
        build(method, *OPTIONS[method], "TEST.NO_TEST", "True", output=backbone).train()
        options = (*OPTIONS[method], *LARGE, "TRAINER.DPC.BACKBONE_DIR", str(backbone))
        options += ("TRAINER.DPC.VARIANT", reading, "TRAINER.DPC.WEIGHT_BASE", weight)
        build(f"{method}_DPC", *options, output=folder).train()
        return folder

    return make


def sweep(root: Path, *words: object) -> list[list[float]]:
    args = sweep_weights.parse_arguments([*map(str, words), "--root", str(root)])
    return [[float(text) for text in row] for row in rows(args)]


def test_data_sets_are_averaged_by_seed() -> None:
    runs = [("A", 1), ("A", 2), ("B", 1), ("B", 2)]
    result = sweep_weights.Sweep(runs, {"base": [[10.0, 20.0, 30.0, 60.0]]}, [], [])
    cell = result.cell(result.found["base"][0])
    assert cell is not None and (cell.mean, cell.n) == (30.0, 2)  # 20 and 40
    assert cell.std == pytest.approx(200**0.5)
    table = sweep_weights.table_of([0.5], result)
    assert "over 2 seeds, each averaged over 2 data sets" in table.notes[0]


def test_the_weight_of_lowest_validation_loss(
    run: Callable[..., Path], build: Build, data_root: Path, tmp_path: Path
) -> None:
    """As a run under WEIGHT_BASE auto has it; hindsight is the best of the table."""
    folder = run("CoOp", "released", "0.2")
    words = [str(folder), "--root", str(data_root), "--auto", "one", "--weights", "0", "0.5", "1"]
    args = sweep_weights.parse_arguments(words)
    result = sweep_weights.sweep(args)
    options = (*OPTIONS["CoOp"], *LARGE, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "CoOp"))
    trainer = build("CoOp_DPC", *options, "TRAINER.DPC.WEIGHT_BASE", "auto", output=tmp_path / "auto")
    trainer.train()
    (chosen,) = set(trainer._shares.values())
    assert result.chosen == [f"{chosen:g}"] and result.auto == [trainer.test()]
    last = sweep_weights.table_of(args.weights, result).rows[-1]
    assert last[0] == "hindsight" and last[1].mean == max(values[0] for values in result.found["base"])
    assert last[2] is None
    again = sweep_weights.parse_arguments([str(tmp_path / "auto"), *words[1:]])
    assert sweep_weights.sweep(again).found == result.found  # which P' of an automatic run is no other


def test_contexts_are_mixed_where_the_run_mixed_them(build: Build, data_root: Path, tmp_path: Path) -> None:
    build("ContCoOp", "TEST.NO_TEST", "True", output=tmp_path / "ContCoOp").train()
    words = (*LARGE, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "ContCoOp"), "TRAINER.DPC.MIX", "contexts")
    build("ContCoOp_DPC", *words, output=tmp_path / "run").train()
    trainer = sweep_weights.trainer_of(tmp_path / "run", None, str(data_root), "base", ())
    learner, dual = trainer.model.prompt_learner, trainer.dual_prompts
    with torch.no_grad():
        with dual.showing("parallel"):
            parallel = learner.context()
        with dual.showing("tuned"):
            tuned = learner.context()
        with dual.mixed(0.3):
            mixed = learner.mix(learner.context)
    torch.testing.assert_close(mixed, 0.3 * parallel + 0.7 * tuned, atol=1e-6, rtol=1e-5)
    assert (mixed - tuned).abs().max() > 1e-4


def rows(args: Any) -> list[list[str]]:
    args.format = "csv"
    table = sweep_weights.table_of(args.weights, sweep_weights.sweep(args))
    lines = list(csv.DictReader(io.StringIO(sweep_weights.FORMATS["csv"](table, False))))
    return [[line["weight"], *(line[name] for name in args.classes)] for line in lines]


def accuracy_of(build: Build, folder: Path, method: str, output: Path, *options: str) -> float:
    backbone = folder.parent / method
    words = (*OPTIONS[method], "TRAINER.DPC.BACKBONE_DIR", str(backbone), *options)
    trainer = build(f"{method}_DPC", *words, output=output)
    trainer.load_model(str(folder), 2)
    return trainer.test()


@pytest.mark.parametrize("method", ["CoOp", "MaPLe"])
def test_each_weight_gives_what_a_test_gives(
    run: Callable[..., Path], build: Build, data_root: Path, tmp_path: Path, method: str
) -> None:
    folder = run(method)
    found = sweep(data_root, folder, "--weights", 0, 0.4, 0.7, 1)
    new = ("DATASET.SUBSAMPLE_CLASSES", "new")
    for weight, base, other in found:
        said = ("TRAINER.DPC.VARIANT", "paper", "TRAINER.DPC.WEIGHT_BASE", f"{weight}")
        assert base == pytest.approx(accuracy_of(build, folder, method, tmp_path / "t", *said))
        said = ("TRAINER.DPC.VARIANT", "paper", "TRAINER.DPC.WEIGHT_NEW", f"{weight}", *new)
        said += ("TRAINER.DPC.WEIGHT_BASE", "0.4")
        assert other == pytest.approx(accuracy_of(build, folder, method, tmp_path / "t", *said))
    assert len({tuple(row[1:]) for row in found}) > 1, "the weight has an effect"


def test_released_mixes_here_too(
    run: Callable[..., Path], build: Build, data_root: Path, tmp_path: Path
) -> None:
    folder = run("CoOp", "released")
    trainer = sweep_weights.trainer_of(folder, None, str(data_root), "base", ())
    part, leaf = trainer.dual_prompts._parts["ctx"]
    before = part.rule
    with trainer.dual_prompts.mixed(0.3):
        expected = 0.3 * leaf.detach() + 0.7 * part.tuned
        assert trainer.model.prompt_learner.ctx.allclose(expected)
    assert part.rule is before and part.shown != "new"


def test_several_runs_have_a_spread(run: Callable[..., Path], data_root: Path) -> None:
    folder = run("CoOp")
    args = sweep_weights.parse_arguments(
        [str(folder), str(folder), "--root", str(data_root), "--weights", "0"]
    )
    found = sweep_weights.sweep(args)
    assert all(len(values[0]) == 2 for values in found.found.values())
    table = sweep_weights.table_of([0.0], found)
    assert "over 2 runs" in table.notes[0] and table.rows[0][1].n == 2


def test_the_picture_and_nothing_in_the_run(
    run: Callable[..., Path], data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("CoOp")
    before = sorted(path for path in folder.rglob("*"))
    picture = tmp_path / "weights.png"
    words = [str(folder), "--root", str(data_root), "--weights", "0", "1", "--plot", str(picture)]
    capsys.readouterr()
    assert sweep_weights.main(words) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["w", "Base", "New"]
    assert picture.read_bytes().startswith(b"\x89PNG") and sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--weights", "1.5"), "--weights has 1.5; weights must be in"),
        ((), "is a run of CoOp: only DPC has two prompts"),
    ],
)
def test_what_cannot_be(
    build: Build, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    build("CoOp", *OPTIONS["CoOp"], "TEST.NO_TEST", "True", output=tmp_path / "coop").train()
    assert sweep_weights.main([str(tmp_path / "coop"), "--root", str(data_root), *words]) != 0
    assert message in capsys.readouterr().err
    assert sweep_weights.main([str(tmp_path / "gone"), "--root", str(data_root)]) != 0
    assert "is not the output folder of a finished run" in capsys.readouterr().err
