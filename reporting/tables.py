"""A table before it is written: columns of texts, counts and numbers with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple


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


class Column(NamedTuple):
    """A column's values: str (text), int (count), Cell (cell) or float (number, difference); None for none.

    In CSV a cell becomes its mean and its spread; ``counted``, its n as well.
    """

    title: str
    name: str  # in CSV
    kind: Literal["text", "count", "cell", "number", "difference"] = "text"
    csv_only: bool = False
    counted: bool = False


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
        Column("paper", f"{column.name}_paper", "number"),
        Column("diff.", f"{column.name}_difference", "difference"),
    ]
