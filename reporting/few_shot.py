"""Accuracy over the number of training images per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from reporting.differences import NOTE as DIFFERENCE_NOTE
from reporting.differences import backbone_of, difference_columns, paired
from reporting.names import ZERO_SHOT
from reporting.runs import Column as RunColumn
from reporting.runs import Row, Run, Runs, averages, collect, row_rank, seeds_by_dataset, shown_methods
from reporting.tables import Cell, Column, Interval, Table

NOTE = (
    "Accuracy in % over training images per class, mean ± sample standard deviation over seeds; "
    "[2/3]: over 2 of the 3 seeds."
)


class Curve(NamedTuple):
    """Cells by shots, None where no seed is finished; ``missing`` names the seeds that lack.

    ``seeds`` has the accuracies by shots and seed, ``gains`` by shots what a plug-in adds to its learner.
    """

    dataset: str
    method: str
    cells: dict[int, Cell | None]
    missing: list[str]
    seeds: dict[tuple[int, int], float]
    gains: dict[int, Interval | None]


def few_shot_protocol(run: Run) -> tuple[Row, RunColumn] | None:
    return (Row(run.dataset, run.method, run.cfg, 0), run.shots) if run.kind == "few_shot" else None


def curves_of(rows: dict[Row, Runs]) -> list[Curve]:
    """A curve should have all shots seen on any, and all seeds seen on its data set.

    Zero-shot CLIP has one point, at 0 shots.
    """
    seeds, methods = seeds_by_dataset(rows), shown_methods(rows)
    trained = [runs for row, runs in rows.items() if not row.method.startswith(ZERO_SHOT)]
    counts = sorted({int(column) for runs in trained for column in runs.columns})
    curves = []
    for row, runs in sorted(rows.items(), key=lambda item: row_rank(item[0])):
        columns = [0] if row.method.startswith(ZERO_SHOT) else counts
        wanted = seeds[row.dataset]
        cells = {shots: runs.cell([shots], wanted) for shots in columns}
        lacks = runs.lacks(columns, wanted)
        points = {(int(shots), seed): value for (shots, seed), value in sorted(runs.accuracy.items())}
        backbone = backbone_of(row, rows)
        gains = {shots: paired(runs, backbone, [shots]) for shots in columns}
        curves.append(Curve(row.dataset, methods[row], cells, lacks, points, gains))
    return curves


def collect_curves(directory: Path, average: bool) -> list[Curve]:
    """The few-shot runs below a folder, with the averages over data sets behind them on request.

    Raises as `collect` does.
    """
    rows = collect(directory, few_shot_protocol, "a run of the few-shot protocol (few_shot)")
    return curves_of(rows) + (curves_of(averages(rows)) if average else [])


def few_shot_table(curves: Sequence[Curve], difference: bool = False) -> Table:
    """``difference`` adds what a plug-in adds to its learner."""
    counts = sorted({shots for curve in curves for shots in curve.cells})
    columns = [Column("Data set", "dataset", spans=True), Column("Method", "method")]
    measures = [
        Column(f"{shots} shot{'' if shots == 1 else 's'}", f"shots_{shots}", "cell", counted=True)
        for shots in counts
    ]
    compared = [i for i, shots in enumerate(counts) if shots and difference]  # DPC has no point at 0
    columns += [*measures, *difference_columns([measures[i] for i in compared])]
    columns.append(Column("Missing", "missing", csv_only=True))
    lines, notes = [], [NOTE, DIFFERENCE_NOTE] if difference else [NOTE]
    for curve in curves:
        missing = "; ".join(curve.missing)
        cells = [curve.cells.get(shots) for shots in counts]
        gains = [curve.gains.get(counts[i]) for i in compared]
        lines.append([curve.dataset, curve.method, *cells, *gains, missing])
        if missing:
            notes.append(f"Incomplete (by shots): {curve.dataset}, {curve.method}, {missing}.")
    return Table(columns, lines, notes)
