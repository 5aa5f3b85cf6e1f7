"""The base/new table as Markdown, LaTeX, CSV or a picture."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reporting.base_new import Cell, TableRow

HEADER = ["Data set", "Method", "Base", "New", "H", "n"]
CSV_HEADER = [
    "dataset",
    "method",
    "shots",
    "base",
    "base_std",
    "new",
    "new_std",
    "h",
    "h_std",
    "n",
    "missing",
]
TEXT_COLUMNS = 2  # set to the left; the numbers behind them to the right


def show(cell: Cell | None, between: str) -> str:
    if cell is None:
        return "-"
    return f"{cell.mean:.2f}" if cell.std is None else f"{cell.mean:.2f}{between}{cell.std:.2f}"


def text_cells(row: TableRow, between: str) -> list[str]:
    return [
        row.dataset,
        row.method,
        *(show(cell, between) for cell in (row.base, row.new, row.h)),
        str(row.n),
    ]


def notes(table: Sequence[TableRow]) -> list[str]:
    """What must stand under the table: how the numbers were averaged and what was left out."""
    said = [
        "Accuracy in %, mean ± sample standard deviation over n seeds; H is taken per seed, before the mean."
    ]
    for row in table:
        if row.missing:
            said.append(
                f"Incomplete, left out of the mean: {row.dataset}, {row.method}, {'; '.join(row.missing)}."
            )
    return said


def as_markdown(table: Sequence[TableRow]) -> str:
    lines = [HEADER] + [text_cells(row, " ± ") for row in table]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    ruler = ["-" * width if i < TEXT_COLUMNS else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines.insert(1, ruler)
    drawn = []
    for line in lines:
        aligned = [f"{text:{'<' if i < TEXT_COLUMNS else '>'}{widths[i]}}" for i, text in enumerate(line)]
        drawn.append(f"| {' | '.join(aligned)} |")
    return "\n".join(drawn) + "\n\n" + "\n".join(notes(table))


def as_latex(table: Sequence[TableRow]) -> str:
    """A booktabs tabular; the notes stand in comments."""
    rows = [[re.sub(r"([_&%#])", r"\\\1", cell) for cell in text_cells(row, r" $\pm$ ")] for row in table]
    lines = [f"% {note}" for note in notes(table)]
    lines += [r"\begin{tabular}{llcccc}", r"\toprule", " & ".join(HEADER) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def as_csv(table: Sequence[TableRow]) -> str:
    """Full precision; empty fields where a number does not exist."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in table:
        numbers = [value for cell in (row.base, row.new, row.h) for value in (cell or (None, None))]
        writer.writerow([row.dataset, row.method, row.shots, *numbers, row.n, "; ".join(row.missing)])
    return out.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Sequence[TableRow]], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
}


def plot(table: Sequence[TableRow], path: Path) -> None:
    """Draws base and new accuracy as bars with their spread, one panel a data set.

    The ending of ``path`` says the format (.png, .pdf, .svg). Raises ValueError where no run is complete.
    """
    import matplotlib  # here, since it takes a second to import and only the plot needs it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    table = [row for row in table if row.n]
    if not table:
        raise ValueError("--plot: no seed has both a base and a new result yet, so there is nothing to draw")
    panels = [
        [row for row in table if row.dataset == name] for name in dict.fromkeys(row.dataset for row in table)
    ]
    widths = [len(panel) for panel in panels]
    size = (1.5 + 1.35 * sum(widths), 3.6)  # inches
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=size, width_ratios=widths, sharey=True, squeeze=False
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        draw_panel(axis, panel)
    axes[0][0].set_ylabel("accuracy (%)")
    axes[0][0].set_ylim(0, 105)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="upper right", ncols=2)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def draw_panel(axis: Any, panel: Sequence[TableRow]) -> None:
    for offset, name, colour in ((-0.2, "base", "#2b6cb0"), (0.2, "new", "#dd8452")):
        cells = [getattr(row, name) for row in panel]
        bars = axis.bar(
            [i + offset for i in range(len(panel))],
            [cell.mean for cell in cells],
            width=0.38,
            yerr=[cell.std or 0 for cell in cells],
            error_kw={"elinewidth": 1, "ecolor": "#444444"},
            capsize=2,
            color=colour,
            label=f"{name} classes",
        )
        axis.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    seeds = "/".join(map(str, sorted({row.n for row in panel})))
    axis.set_title(f"{panel[0].dataset} (n = {seeds})", fontsize=10, loc="left")
    names = [row.method.replace("ZeroshotCLIP", "zero-shot").replace("_DPC", " + DPC") for row in panel]
    axis.set_xticks(range(len(panel)), [name.replace(" (", "\n(") for name in names], fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
