"""A table before it is written: columns of texts, counts and numbers with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

Kind = Literal["text", "count", "cell", "printed", "difference", "interval"]


class Cell(NamedTuple):
    """Mean and sample standard deviation (n - 1 in the denominator; None for n = 1) of n of ``of`` values."""

    mean: float
    std: float | None
    n: int
    of: int


def mean_and_std(values: Sequence[float], of: int | None = None) -> Cell | None:
    """None for no values."""
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.fmean(values), std, len(values), len(values) if of is None else of)


class Interval(NamedTuple):
    """The mean of n values and its 95 % confidence interval, ``low`` and ``high`` None for n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Column(NamedTuple):
    """A column's values; None for none.

    They are str (text), int (count), Cell (cell), Interval (interval) or float: a paper's figure (printed)
    and, in the column behind it, ours minus that (difference). In CSV a cell becomes its mean and its spread;
    ``counted``, its n as well. Equal neighbours in a column that ``spans`` belong together.
    """

    title: str
    name: str  # in CSV
    kind: Kind = "text"
    csv_only: bool = False
    counted: bool = False
    spans: bool = False


class Table(NamedTuple):
    """``notes`` stand below: how the numbers were averaged and what was left out."""

    columns: list[Column]
    rows: list[list[Any]]
    notes: list[str]


def beside(cell: Cell | None, printed: float | None) -> list[Any]:
    """The cell, the paper's figure and the difference."""
    return [cell, printed, cell.mean - printed if cell and printed is not None else None]


def beside_columns(column: Column) -> list[Column]:
    """The columns of `beside`."""
    return [
        column,
        Column("paper", f"{column.name}_paper", "printed"),
        Column("diff.", f"{column.name}_difference", "difference"),
    ]


def groups(table: Table) -> list[range]:
    """The rows that belong together: of one data set, or all where no column spans several."""
    index = next((i for i, column in enumerate(table.columns) if column.spans), None)
    keys = [None if index is None else row[index] for row in table.rows]
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    return [range(start, end) for start, end in pairwise([*starts, len(keys)])]


def ranks(table: Table) -> dict[tuple[int, int], int]:
    """1 at the best and 2 at the second mean of each data set and column, by (row, column).

    Means that print alike (two decimals) rank alike; one alone is not ranked.
    """
    found = {}
    for rows in groups(table):
        for j, column in enumerate(table.columns):
            if column.kind == "cell":
                means = {i: round(table.rows[i][j].mean, 2) for i in rows if table.rows[i][j] is not None}
                order = sorted(set(means.values()), reverse=True)[:2] if len(means) > 1 else []
                found.update({(i, j): order.index(mean) + 1 for i, mean in means.items() if mean in order})
    return found


def shown_columns(table: Table) -> tuple[list[int], list[str]]:
    """The columns that a text shows, and notes on those that it leaves out since they are empty."""
    filled = [any(row[i] is not None for row in table.rows) for i in range(len(table.columns))]
    shown, unprinted, unpaired = [], [], []
    for i, column in enumerate(table.columns):
        if column.kind == "printed" and not filled[i]:
            unprinted.append(table.columns[i - 1].title)
        elif column.kind == "interval" and not filled[i]:
            unpaired.append(column.title)
        elif not column.csv_only and not (column.kind == "difference" and not filled[i - 1]):
            shown.append(i)
    notes = [f"The paper prints no figures for these rows: {', '.join(unprinted)}."] if unprinted else []
    notes += [f"No row has a seed in common with its backbone: {', '.join(unpaired)}."] if unpaired else []
    return shown, notes
