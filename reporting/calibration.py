"""Calibration beside accuracy: what prompt tuning does to the meaning of confidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reporting.base_new import collect_base_new
from reporting.differences import backbone_of, difference_columns, paired
from reporting.plots import draw_panels
from reporting.runs import SUBSETS, Row, Runs, averages, row_rank, seeds_by_dataset, shown_methods
from reporting.tables import Column, Table

NOTE = (
    "Expected calibration error in %, 15 bins of confidence: 0 where confidence is the share that is right; "
    "mean ± sample standard deviation over n seeds. Δ: a plug-in - its prompt learner, of the same seed, "
    "[95 % confidence interval]; below 0 is better."
)


def calibration_table(directory: Path) -> Table:
    """Of all base-to-new runs below a folder, and their average over data sets; raises as `collect` does."""
    rows = collect_base_new(directory, "ece")
    measures = [Column(f"ECE {subset}", f"ece_{subset}", "cell") for subset in SUBSETS]
    columns = [Column("Data set", "dataset", spans=True), Column("Method", "method"), *measures]
    columns += [*difference_columns(measures), Column("n", "n", "count")]
    return Table(columns, [*_lines(rows), *_lines(averages(rows))], [NOTE])


def _lines(rows: dict[Row, Runs]) -> list[list[Any]]:
    seeds, methods = seeds_by_dataset(rows), shown_methods(rows)
    lines = []
    for row in sorted(rows, key=row_rank):
        runs, backbone = rows[row], backbone_of(row, rows)
        cells = [runs.cell([subset], seeds[row.dataset]) for subset in SUBSETS]
        gains = [paired(runs, backbone, [subset]) for subset in SUBSETS]
        lines.append([row.dataset, methods[row], *cells, *gains, len(runs.complete(SUBSETS))])
    return lines


def pooled_bins(lists: Iterable[Sequence[Sequence[float]]], bins: int = 15) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of images of all seeds' bins together."""
    sums = [[0.0, 0.0, 0.0] for _ in range(bins)]
    for each in lists:
        for count, confidence, accuracy in each:
            total = sums[min(int(confidence * bins), bins - 1)]
            for i, value in enumerate((count * confidence, count * accuracy, count)):
                total[i] += value
    return [(a / n, b / n, int(n)) for a, b, n in sums if n]


def reliability_figure(directory: Path) -> Any:
    """Accuracy over confidence, a panel a data set and class set, a line a method, all seeds together.

    Raises:
        ValueError: no result says it.
    """
    rows = collect_base_new(directory, "ece")
    methods = shown_methods(rows)
    names = list(dict.fromkeys(methods[row] for row in sorted(rows, key=row_rank)))
    panels = [
        [(dataset, subset, row) for row in sorted(rows, key=row_rank) if row.dataset == dataset]
        for dataset in dict.fromkeys(row.dataset for row in sorted(rows, key=row_rank))
        for subset in SUBSETS
    ]

    def draw(axis: Any, panel: Sequence[tuple[str, str, Row]]) -> None:
        axis.plot([0, 100], [0, 100], color="#999999", linewidth=0.8, linestyle="--")
        for _, subset, row in panel:
            found = [bins for (column, _), bins in rows[row].reliability.items() if column == subset]
            points = pooled_bins(found)
            colour = f"C{names.index(methods[row]) % 10}"
            x, y = [100 * point[0] for point in points], [100 * point[1] for point in points]
            axis.plot(x, y, "o-", color=colour, markersize=3, linewidth=1.2, label=methods[row])
        axis.set_title(f"{panel[0][0]}, {panel[0][1]} classes", fontsize=10, loc="left")
        axis.set_xlabel("confidence (%)")

    return draw_panels(panels, [3.2] * len(panels), draw)
