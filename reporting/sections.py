"""The protocols' part of the HTML report: tables, plots, every seed's figure, and what lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from reporting.base_new import MEASURES, base_new_table, summarise_tree
from reporting.calibration import calibration_table, reliability_figure
from reporting.charts import Dot, DotChart, dot_chart
from reporting.few_shot import collect_curves, few_shot_table
from reporting.formats import show
from reporting.names import dataset_rank
from reporting.plots import base_new_figure, few_shot_figure, svg_element
from reporting.runs import NoResultsError, row_rank, shown_methods
from reporting.significance import significance_table
from reporting.tables import Table, groups, ranks, shown_columns
from reporting.xd import collect_xd, xd_table


class HtmlCell(NamedTuple):
    """``rank``: 1 the best, 2 the second, 0 others. ``rows`` that it spans; 0 where one above does."""

    text: str
    is_text: bool
    rank: int
    rows: int


class HtmlTable(NamedTuple):
    header: list[HtmlCell]
    rows: list[list[HtmlCell]]
    notes: list[str]


@dataclass
class Section:
    """A protocol; ``missing`` has data set or source, method and what lacks of it."""

    title: str
    tables: list[HtmlTable] = field(default_factory=list)
    figure: Markup | None = None
    dots: list[DotChart] = field(default_factory=list)
    missing: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, table: Table) -> None:
        self.tables.append(html_table(table))
        names = [column.name for column in table.columns]
        if "missing" not in names:
            return
        places = [names.index(name) for name in ("method", "missing")]
        for row in table.rows:
            if row[places[1]] and not str(row[0]).startswith("average of "):
                self.missing.append((row[0], *(row[place] for place in places)))

    def add_dots(self, title: str, dots: Iterable[Dot]) -> None:
        chart = dot_chart(title, dots)
        self.dots += [chart] if chart else []


def html_table(table: Table) -> HtmlTable:
    indices, notes = shown_columns(table)
    marked = ranks(table)
    columns = [table.columns[j] for j in indices]
    header = [HtmlCell(column.title, column.kind == "text", 0, 1) for column in columns]
    rows = []
    for group in groups(table):
        for i in group:
            spans = len(group) if i == group[0] else 0
            rows.append(
                [
                    HtmlCell(
                        show(table.rows[i][j], table.columns[j]),
                        table.columns[j].kind == "text",
                        marked.get((i, j), 0),
                        spans if table.columns[j].spans else 1,
                    )
                    for j in indices
                ]
            )
    marks = ["Bold: the best mean of its data set and column; underlined: the second."] if marked else []
    return HtmlTable(header, rows, [*table.notes, *notes, *marks])


def base_new_section(directory: Path, paper: bool) -> Section:
    summaries = summarise_tree(directory, average=True)
    section = Section("Base to new")
    section.add(base_new_table(summaries, paper, difference=True))
    own = [summary for summary in summaries if not summary.row.is_average]
    if any(summary.n for summary in own):
        section.figure = Markup(svg_element(base_new_figure(own), "base_new"))
    for dataset in dict.fromkeys(summary.row.dataset for summary in own):
        section.add_dots(
            dataset,
            [
                Dot(summary.method, column.title, seed, accuracy)
                for summary in own
                if summary.row.dataset == dataset
                for seed, accuracies in summary.seeds.items()
                for column, accuracy in zip(MEASURES, accuracies, strict=True)
            ],
        )
    return section


def calibration_section(directory: Path, _paper: bool) -> Section:
    section = Section("Base to new: calibration")
    section.add(calibration_table(directory))
    section.figure = Markup(svg_element(reliability_figure(directory), "reliability"))
    return section


def significance_section(directory: Path, _paper: bool) -> Section:
    section = Section("Base to new: what plug-ins add")
    section.add(significance_table(directory))
    return section


def xd_section(directory: Path, paper: bool) -> Section:
    section = Section("Cross-dataset and cross-domain")
    for source, rows in collect_xd(directory).items():
        section.add(xd_table(source, rows, paper, difference=True))
        methods = shown_methods(rows)
        dots = [
            Dot(str(column), methods[row], seed, accuracy)
            for row in sorted(rows, key=row_rank)
            for (column, seed), accuracy in sorted(rows[row].accuracy.items())
        ]
        dots.sort(key=lambda dot: (dot.row != source, dataset_rank(dot.row)))
        section.add_dots(f"tuned on {source}", dots)
    return section


def few_shot_section(directory: Path, _paper: bool) -> Section:
    """The DPC paper draws curves of this protocol, and prints no figures."""
    curves = collect_curves(directory, average=True)
    section = Section("Few-shot")
    section.add(few_shot_table(curves, difference=True))
    if any(any(curve.cells.values()) for curve in curves):
        section.figure = Markup(svg_element(few_shot_figure(curves), "few_shot"))
    own = [curve for curve in curves if not curve.dataset.startswith("average of ")]
    for dataset in dict.fromkeys(curve.dataset for curve in own):
        dots = [
            (shots, Dot(f"{shots} images a class", curve.method, seed, accuracy))
            for curve in own
            if curve.dataset == dataset
            for (shots, seed), accuracy in curve.seeds.items()
        ]
        section.add_dots(dataset, [dot for _, dot in sorted(dots, key=lambda pair: pair[0])])
    return section


SECTIONS: list[Callable[[Path, bool], Section]] = [
    base_new_section, significance_section, calibration_section, xd_section, few_shot_section,
]  # fmt: skip


def sections(directory: Path, paper: bool) -> list[Section]:
    """Of the protocols that have results."""
    found = []
    for make in SECTIONS:
        try:
            found.append(make(directory, paper))
        except NoResultsError:
            continue
    return found
