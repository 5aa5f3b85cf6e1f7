"""Tables 3 to 5 of the DPC paper: what DPC, or its prompt learner, reaches when one thing is changed."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from reporting.base_new import MEASURES, Summary, collect_base_new, summarise
from reporting.names import dataset_rank
from reporting.paper import read_table
from reporting.run_folders import training_seconds
from reporting.runs import Row, Runs, averages
from reporting.tables import Cell, Column, Table, beside, beside_columns, mean_and_std

NUMBERS = (3, 4, 5)
NOTE = (
    "Accuracy in %, mean ± sample standard deviation over n seeds; H is taken per seed, before the mean. "
    "paper: Table {} of the DPC paper, an average over 11 data sets; diff.: ours - paper."
)
TIME_NOTE = (
    "Time: of DPC's steps, as a ratio to the first row; it means something where one machine made all runs, "
    "one at a time."
)


def settings_of(row: Row) -> str:
    """What a row's configuration changes; "" for nothing."""
    return row.cfg.partition("+")[2]


def chosen(rows: dict[Row, Runs], line: dict[str, str]) -> dict[Row, Runs]:
    """The rows that a line of the paper's table speaks of, DPC's in every reading that is there."""
    plugin = "DPC (" if line["method"].endswith("+DPC") else ""
    learner = line["method"].removesuffix("+DPC")
    return {
        row: runs
        for row, runs in rows.items()
        if settings_of(row) == line["settings"]
        and (row.method.startswith(f"{learner} + {plugin}") if plugin else row.method == learner)
    }


def ablation_table(directory: Path, number: int) -> Table:
    """Of all base-to-new runs below a folder those of Table ``number``, per data set and their average.

    Raises:
        FileNotFoundError, ValueError: as `collect_base_new`, or no run is one of that table.
    """
    everything = collect_base_new(directory)
    lines = read_table(number)
    places: dict[Row, dict[str, str]] = {}
    for line in lines:
        places |= dict.fromkeys(chosen(everything, line), line)
    if not places:
        raise ValueError(f"directory: no run below {directory} is one of the paper's Table {number}")
    rows = {row: everything[row] for row in places}
    summaries = summarise(rows) + summarise(averages(rows))
    timed = "time" in lines[0]

    def place(summary: Summary) -> dict[str, str]:
        return next(line for row, line in places.items() if row[1:] == summary.row[1:])

    def rank(summary: Summary) -> tuple[Any, ...]:
        row = summary.row
        return (
            row.is_average,
            dataset_rank(row.dataset),
            row.method.partition("(")[2],
            place(summary)["row"],
        )

    columns = [Column("Data set", "dataset", spans=True), Column("Row", "row"), Column("Method", "method")]
    for column in MEASURES:
        columns += beside_columns(column)
    columns += beside_columns(Column("Time", "time", "cell")) if timed else []
    columns.append(Column("n", "n", "count"))
    table: list[list[Any]] = []
    for summary in sorted(summaries, key=rank):
        line = place(summary)
        cells = [
            value
            for name, cell in zip(("base", "new", "h"), (summary.base, summary.new, summary.h), strict=True)
            for value in beside(cell, printed(summary.row, line, name))
        ]
        if timed:
            cells += beside(time_ratio(summary.row, rows, places), float(line["time"]))
        name = f"({line['row']}) {line['name']}"
        table.append([summary.row.dataset, name, summary.row.method, *cells, summary.n])
    return Table(columns, table, [NOTE.format(number), *([TIME_NOTE] if timed else [])])


def printed(row: Row, line: dict[str, str], name: str) -> float | None:
    """The paper's figure, which is an average over its data sets."""
    return float(line[name]) if row.is_average and line[name] else None


def time_ratio(row: Row, rows: dict[Row, Runs], places: dict[Row, dict[str, str]]) -> Cell | None:
    """Training time of a row against the table's first line, by data set; None where a log lacks."""
    ratios = []
    for other in rows:
        if other[1:] != row[1:] or not (row.is_average or other.dataset == row.dataset):
            continue
        first = [
            rows[each]
            for each, line in places.items()
            if line["row"] == "1" and (each.dataset, each.method) == (other.dataset, other.method)
        ]
        own, base = seconds_of(rows[other]), seconds_of(first[0]) if first else None
        if own is None or not base:
            return None
        ratios.append(own / base)
    return mean_and_std([statistics.fmean(ratios)]) if ratios else None


def seconds_of(runs: Runs) -> float | None:
    """The mean over a row's trainings; None where no log tells."""
    trainings = [training_seconds(log) for log in runs.logs if log.parts[-7] == "train_base"]
    seconds = [took for took in trainings if took is not None]
    return statistics.fmean(seconds) if seconds else None
