"""A table as Markdown, LaTeX, plain text or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

from reporting.tables import Cell, Column, Interval, Table, groups, ranks, shown_columns

# without the escapes of tabulate's own, which would undo \multirow and \textbf
BOOKTABS = TableFormat(
    lineabove=Line(r"\toprule", "", "", ""),
    linebelowheader=Line(r"\midrule", "", "", ""),
    linebetweenrows=None,
    linebelow=Line(r"\bottomrule", "", "", ""),
    headerrow=DataRow("", " & ", r" \\"),
    datarow=DataRow("", " & ", r" \\"),
    padding=0,
    with_header_hide=None,
)
LATEX_SIGNS = {
    **{sign: f"\\{sign}" for sign in "_&%#${}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "Δ": r"$\Delta$", "→": r"$\to$"},
}


def one_line(text: str) -> str:
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    return one_line(text).replace("|", r"\|")


def escape_latex(text: str) -> str:
    return re.sub(r"[\\_&%#${}~^±Δ→]", lambda match: LATEX_SIGNS[match[0]], one_line(text))


class Style(NamedTuple):
    """``best`` and ``second`` hold the mean as %s, where means are marked; ``marks`` says how."""

    between: str  # mean and spread
    best: str
    second: str
    marks: str
    escape: Callable[[str], str]


PLAIN = Style(" ± ", "*%s", "%s", "*: the best mean of its data set and column.", one_line)
MARKDOWN = Style(" ± ", "**%s**", "%s", "Bold: the best mean of its data set and column.", escape_markdown)
LATEX = Style(
    *(r" $\pm$ ", r"\textbf{%s}", r"\underline{%s}"),
    *("Bold: the best mean of its data set and column; underlined: the second.", escape_latex),
)


def show(value: Any, column: Column, style: Style = PLAIN, rank: int | None = None) -> str:
    """A value's text, marked by its rank; the one of text columns escaped."""
    if value is None:
        return "-"
    if isinstance(value, Cell):
        spread = "" if value.std is None else f"{style.between}{value.std:.2f}"
        fewer = f" [{value.n}/{value.of}]" if value.n < value.of else ""
        mark = {1: style.best, 2: style.second}.get(rank or 0, "%s")
        return f"{mark % f'{value.mean:.2f}'}{spread}{fewer}"
    if isinstance(value, Interval):
        bounds = "" if value.low is None else f" [{value.low:+.2f}, {value.high:+.2f}]"
        return f"{value.mean:+.2f}{bounds}"
    if column.kind == "difference":
        return f"{value:+.2f}"
    return f"{value:.2f}" if column.kind == "printed" else style.escape(str(value))


class Texts(NamedTuple):
    columns: list[Column]
    rows: list[list[str]]
    notes: list[str]


def texts(table: Table, style: Style, mark: bool) -> Texts:
    """What a format other than CSV shows."""
    indices, notes = shown_columns(table)
    marked = ranks(table) if mark else {}
    rows = [
        [show(row[j], table.columns[j], style, marked.get((i, j))) for j in indices]
        for i, row in enumerate(table.rows)
    ]
    notes = [*table.notes, *notes, *([style.marks] if marked else [])]
    return Texts([table.columns[j] for j in indices], rows, [one_line(note) for note in notes])


def drawn(shown: Texts, rows: list[Any], tablefmt: str | TableFormat, escape: Callable[[str], str]) -> str:
    return tabulate(
        rows,
        headers=[escape(column.title) for column in shown.columns],
        tablefmt=tablefmt,
        disable_numparse=True,  # else 92.50 would become 92.5
        colalign=["left" if column.kind == "text" else "right" for column in shown.columns],
    )


def as_markdown(table: Table, mark: bool = False) -> str:
    shown = texts(table, MARKDOWN, mark)
    return drawn(shown, shown.rows, "pipe", escape_markdown) + "\n\n" + "\n".join(shown.notes)


def as_plain(table: Table, mark: bool = False) -> str:
    shown = texts(table, PLAIN, mark)
    return drawn(shown, shown.rows, "simple", one_line) + "\n\n" + "\n".join(shown.notes)


def as_latex(table: Table, mark: bool = False) -> str:
    """A booktabs tabular, with a \\multirow for a data set of several rows; the notes stand in comments."""
    shown = texts(table, LATEX, mark)
    rows: list[Any] = []
    spanning = next((j for j, column in enumerate(shown.columns) if column.spans), None)
    for group in groups(table):
        if rows and spanning is not None:
            rows.append(SEPARATING_LINE)
        for i in group:
            if spanning is not None and len(group) > 1:
                name = rf"\multirow{{{len(group)}}}{{*}}{{{shown.rows[i][spanning]}}}"
                shown.rows[i][spanning] = name if i == group[0] else ""
            rows.append(shown.rows[i])
    lines = ["% needs \\usepackage{booktabs,multirow}", *(f"% {note}" for note in shown.notes)]
    letters = "".join("l" if column.kind == "text" else "c" for column in shown.columns)
    lines.append(rf"\begin{{tabular}}{{{letters}}}")
    return "\n".join([*lines, drawn(shown, rows, BOOKTABS, escape_latex), r"\end{tabular}"])


def csv_names(column: Column) -> list[str]:
    if column.kind == "cell":
        return [f"{column.name}{end}" for end in ("", "_std", "_n")[: 2 + column.counted]]
    if column.kind == "interval":
        return [f"{column.name}{end}" for end in ("", "_low", "_high", "_n")]
    return [column.name]


def csv_fields(value: Any, column: Column) -> list[Any]:
    if column.kind == "cell":
        return list((value or (None, None, 0))[: 2 + column.counted])
    if column.kind == "interval":
        return list(value or (None, None, None, 0))
    return [value]


def as_csv(table: Table, mark: bool = False) -> str:
    """Full precision; empty fields where a number does not exist. All columns, and no marks."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for column in table.columns for name in csv_names(column)])
    for row in table.rows:
        pairs = zip(row, table.columns, strict=True)
        writer.writerow([field for value, column in pairs for field in csv_fields(value, column)])
    return out.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Table, bool], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "plain": as_plain,
}
