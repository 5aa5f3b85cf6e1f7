"""Table 1: base, new and their harmonic mean H per data set and method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reporting.differences import NOTE as DIFFERENCE_NOTE
from reporting.differences import backbone_of, difference_columns, paired
from reporting.paper import base_new_figures
from reporting.runs import (
    SUBSETS,
    Row,
    Run,
    Runs,
    averages,
    collect,
    row_rank,
    seeds_by_dataset,
    shown_methods,
)
from reporting.runs import Column as RunColumn
from reporting.tables import Cell, Column, Interval, Table, beside, beside_columns, mean_and_std

MEASURES = [Column(name, name.lower(), "cell") for name in ("Base", "New", "H")]
NOTE = "Accuracy in %, mean ± sample standard deviation over n seeds; H is taken per seed, before the mean."
PAPER_NOTE = (
    "paper: the DPC paper's Table 1 (16 shots, seeds 1-3), whatever the configuration here; "
    "diff.: ours - paper."
)


class Summary(NamedTuple):
    """``missing`` names the seeds that were left out and why; a cell is None where no seed is complete.

    ``seeds`` has base, new and H of each seed, ``gains`` what a plug-in adds to its learner in them.
    """

    row: Row
    method: str
    base: Cell | None
    new: Cell | None
    h: Cell | None
    n: int
    missing: list[str]
    seeds: dict[int, list[float]]
    gains: list[Interval | None]


def base_new_protocol(run: Run) -> tuple[Row, RunColumn] | None:
    return (Row(run.dataset, run.method, run.cfg, run.shots), run.kind) if run.kind in SUBSETS else None


def collect_base_new(directory: Path, measure: str = "accuracy") -> dict[Row, Runs]:
    """The base-to-new runs below a folder; raises as `collect` does."""
    return collect(directory, base_new_protocol, "a test on base or new classes", measure)


def harmonic_mean(base: float, new: float) -> float:
    """H = 2 base new / (base + new), the single number for the base/new trade-off; 0 if both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


# of the accuracies on base and on new classes
SCORES: list[Callable[[Sequence[float]], float]] = [
    lambda pair: pair[0],
    lambda pair: pair[1],
    lambda pair: harmonic_mean(*pair),
]


def summarise(rows: dict[Row, Runs]) -> list[Summary]:
    """H is taken per seed, before the mean; only seeds with both base and new are averaged."""
    seeds, methods = seeds_by_dataset(rows), shown_methods(rows)
    summaries = []
    for row, runs in rows.items():
        pairs = {s: [runs.accuracy[subset, s] for subset in SUBSETS] for s in runs.complete(SUBSETS)}
        numbers = {seed: [score(pair) for score in SCORES] for seed, pair in pairs.items()}
        base, new, h = (mean_and_std([each[i] for each in numbers.values()]) for i in range(3))
        missing = runs.lacks(SUBSETS, seeds[row.dataset])
        backbone = backbone_of(row, rows)
        gains = [paired(runs, backbone, SUBSETS, score) for score in SCORES]
        summaries.append(Summary(row, methods[row], base, new, h, len(numbers), missing, numbers, gains))
    return sorted(summaries, key=lambda summary: row_rank(summary.row))


def summarise_tree(directory: Path, average: bool, measure: str = "accuracy") -> list[Summary]:
    """Everything below a folder, with the averages over data sets behind it on request."""
    rows = collect_base_new(directory, measure)
    return summarise(rows) + (summarise(averages(rows)) if average else [])


def base_new_table(summaries: Sequence[Summary], paper: bool = False, difference: bool = False) -> Table:
    """With ``paper`` the figures of Table 1 stand beside ours; ``difference``: to the backbone."""
    columns = [
        Column("Data set", "dataset", spans=True),
        Column("Method", "method"),
        Column("Shots", "shots", csv_only=True),
    ]
    for column in MEASURES:
        columns += beside_columns(column) if paper else [column]
    columns += difference_columns(MEASURES) if difference else []
    columns += [Column("n", "n", "count"), Column("Missing", "missing", csv_only=True)]
    lines: list[list[Any]] = []
    notes = [NOTE, *([PAPER_NOTE] if paper else []), *([DIFFERENCE_NOTE] if difference else [])]
    for summary in summaries:
        row, cells = summary.row, [summary.base, summary.new, summary.h]
        gains = summary.gains if difference else []
        if paper:
            pairs = zip(cells, base_new_figures(row), strict=True)
            cells = [value for cell, printed in pairs for value in beside(cell, printed)]
        missing = "; ".join(summary.missing)
        lines.append([row.dataset, summary.method, row.shots, *cells, *gains, summary.n, missing])
        if missing:
            notes.append(f"Incomplete, left out of the mean: {row.dataset}, {summary.method}, {missing}.")
    return Table(columns, lines, notes)
