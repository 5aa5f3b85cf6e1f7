"""A table as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from reporting.tables import Cell, Column, Table


def show(value: Any, column: Column, between: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, Cell):
        spread = "" if value.std is None else f"{between}{value.std:.2f}"
        fewer = f" [{value.n}/{value.of}]" if value.n < value.of else ""
        return f"{value.mean:.2f}{spread}{fewer}"
    if column.kind == "difference":
        return f"{value:+.2f}"
    return f"{value:.2f}" if column.kind == "number" else str(value)


def text_lines(table: Table, between: str) -> tuple[list[Column], list[list[str]]]:
    """The columns that are not for CSV alone, and the rows' texts in them."""
    indices = [i for i, column in enumerate(table.columns) if not column.csv_only]
    columns = [table.columns[i] for i in indices]
    return columns, [[show(row[i], table.columns[i], between) for i in indices] for row in table.rows]


def as_markdown(table: Table) -> str:
    columns, rows = text_lines(table, " ± ")
    lines = [[column.title for column in columns], *rows]
    widths = [max(3, *map(len, texts)) for texts in zip(*lines, strict=True)]
    left = [column.kind == "text" for column in columns]
    ruler = ["-" * width if left[i] else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines.insert(1, ruler)
    drawn = []
    for line in lines:
        aligned = [f"{text:{'<' if left[i] else '>'}{widths[i]}}" for i, text in enumerate(line)]
        drawn.append(f"| {' | '.join(aligned)} |")
    return "\n".join(drawn) + "\n\n" + "\n".join(table.notes)


def as_latex(table: Table) -> str:
    """A booktabs tabular; the notes stand in comments."""
    columns, rows = text_lines(table, r" $\pm$ ")
    lines = [f"% {note}" for note in table.notes]
    lines.append(rf"\begin{{tabular}}{{{''.join('l' if c.kind == 'text' else 'c' for c in columns)}}}")
    lines += [r"\toprule", " & ".join(column.title for column in columns) + r" \\", r"\midrule"]
    lines += [" & ".join(re.sub(r"([_&%#])", r"\\\1", text) for text in row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def as_csv(table: Table) -> str:
    """Full precision; empty fields where a number does not exist."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header: list[str] = []
    for column in table.columns:
        header.append(column.name)
        if column.kind == "cell":
            header += [f"{column.name}_std", f"{column.name}_n"][: 1 + column.counted]
    writer.writerow(header)
    for row in table.rows:
        fields: list[Any] = []
        for value, column in zip(row, table.columns, strict=True):
            if column.kind == "cell":
                fields += (value or (None, None, 0))[: 2 + column.counted]
            else:
                fields.append(value)
        writer.writerow(fields)
    return out.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}
