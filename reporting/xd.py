"""Table 2: trained on all classes of one data set, tested on others (cross-dataset, cross-domain)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reporting.differences import NOTE as DIFFERENCE_NOTE
from reporting.differences import backbone_of, difference_columns, paired
from reporting.names import BENCHMARK, DEFAULT_SOURCE, SHIFTED_IMAGENETS, ZERO_SHOT, dataset_rank
from reporting.paper import cross_dataset_figures
from reporting.runs import Column as RunColumn
from reporting.runs import Row, Run, Runs, collect, row_rank, seeds_by_dataset, shown_methods
from reporting.tables import Column, Table, beside, beside_columns

NOTE = (
    "Accuracy in %, mean ± sample standard deviation over seeds; [2/3]: over 2 of the 3 seeds. "
    "An average takes only seeds with all of its data sets."
)
PAPER_NOTE = (
    "paper: the DPC paper's Table 2 (16 shots, seeds 1-3), whatever the configuration here; "
    "diff.: ours - paper, of averages only with all of the paper's data sets. Its PromptKD was "
    "distilled on each target's own images, and stands beside such runs alone."
)


class Group(NamedTuple):
    """Data sets that are averaged; ``complete``, the ones that the paper averages."""

    title: str
    name: str
    datasets: list[str]
    complete: Sequence[str]

    @property
    def lacking(self) -> list[str]:
        return [name for name in self.complete if name not in self.datasets]


def xd_protocol(run: Run) -> tuple[Row, RunColumn] | None:
    """The source's own test images are one more column."""
    source = {"source": run.dataset, "target": run.source}.get(run.kind)
    return (Row(source, run.method, run.cfg, run.shots), run.dataset) if source else None


def collect_xd(directory: Path) -> dict[str, dict[Row, Runs]]:
    """The runs below a folder by source; raises as `collect` does.

    Zero-shot CLIP, which has no source, joins each source for the data sets tested there.
    """
    what = "a training or test of the cross-dataset protocol (xd/train, xd/test)"
    rows = collect(directory, xd_protocol, what)
    zero_shot = {row: runs for row, runs in rows.items() if row.method.startswith(ZERO_SHOT)}
    by_source: dict[str, dict[Row, Runs]] = {}
    for row, runs in rows.items():
        if row not in zero_shot:
            by_source.setdefault(row.dataset, {})[row] = runs
    if not by_source:
        return {DEFAULT_SOURCE: zero_shot}
    for source, group in by_source.items():
        known = {source}.union(*(runs.columns for runs in group.values()))
        for row, runs in zero_shot.items():
            accuracy = {key: value for key, value in runs.accuracy.items() if key[0] in known}
            begun = {key for key in runs.begun if key[0] in known}
            if accuracy or begun:
                group[row._replace(dataset=source)] = Runs(accuracy, begun, logs=runs.logs)
    return dict(sorted(by_source.items(), key=lambda item: dataset_rank(item[0])))


def groups_of(source: str, rows: dict[Row, Runs]) -> list[Group]:
    """The data sets that any method was tested on, as the paper groups them."""
    tested = {str(column) for runs in rows.values() for column in runs.columns} - {source}
    ranked = sorted(tested, key=dataset_rank)
    shifted = [name for name in ranked if name in SHIFTED_IMAGENETS]
    others = [name for name in ranked if name not in SHIFTED_IMAGENETS]
    benchmark = [name for name in BENCHMARK if name != source]
    groups = [
        Group("cross-dataset", "cross_dataset", others, benchmark),
        Group("cross-domain", "cross_domain", shifted, SHIFTED_IMAGENETS),
    ]
    return [group for group in groups if group.datasets]


def xd_table(source: str, rows: dict[Row, Runs], paper: bool = False, difference: bool = False) -> Table:
    """One line a method: the source, each target and the averages of both groups.

    ``paper`` sets the figures of Table 2 beside source and averages, ``difference`` what a plug-in adds.
    """
    groups, methods = groups_of(source, rows), shown_methods(rows)
    columns = [Column("Source", "source", csv_only=True), Column("Method", "method")]
    columns.append(Column("Shots", "shots", csv_only=True))
    own = Column(f"{source} (source)", "source_accuracy", "cell", counted=True)
    columns += beside_columns(own) if paper else [own]
    measures = [own]
    for group in groups:
        columns += [Column(name, name, "cell", counted=True) for name in group.datasets]
        title = f"{group.title} average ({len(group.datasets)})"
        average = Column(title, f"{group.name}_average", "cell", counted=True)
        columns += beside_columns(average) if paper else [average]
        measures.append(average)
    columns += difference_columns(measures) if difference else []
    columns.append(Column("Missing", "missing", csv_only=True))

    seeds = seeds_by_dataset(rows)[source]
    expected = [source, *(name for group in groups for name in group.datasets)]
    compared = [[source], *(group.datasets for group in groups)]
    lines: list[list[Any]] = []
    notes = [NOTE, *([PAPER_NOTE] if paper else []), *([DIFFERENCE_NOTE] if difference else [])]
    for row in sorted(rows, key=row_rank):
        missing = "; ".join(rows[row].lacks(expected, seeds))
        values = row_values(row, rows[row], groups, seeds, paper)
        backbone = backbone_of(row, rows)
        gains = [paired(rows[row], backbone, names) for names in compared] if difference else []
        lines.append([source, methods[row], row.shots, *values, *gains, missing])
        if missing:
            notes.append(f"Incomplete: {methods[row]}, {missing}.")
    for group in groups if source == DEFAULT_SOURCE else []:
        if group.lacking:
            notes.append(f"Not part of the {group.title} average, no runs: {', '.join(group.lacking)}.")
    return Table(columns, lines, notes)


def is_papers_protocol(row: Row, runs: Runs) -> bool:
    """Whether the paper's figures of a method are of the protocol that ``runs`` followed.

    PromptKD's are of students that saw the unlabelled images of the target that they were tested on.
    """
    return not row.method.startswith("PromptKD") or all(runs.own_images.values())


def row_values(row: Row, runs: Runs, groups: list[Group], seeds: set[int], paper: bool) -> list[Any]:
    """Cells of source, targets and averages, with the paper's figures behind those that it prints."""
    figures = cross_dataset_figures(row) if is_papers_protocol(row, runs) else [None] * 3
    printed = dict(zip(("source", "cross_dataset", "cross_domain"), figures, strict=True))
    cell = runs.cell([row.dataset], seeds)
    values: list[Any] = beside(cell, printed["source"]) if paper else [cell]
    for group in groups:
        values += [runs.cell([name], seeds) for name in group.datasets]
        cell = runs.cell(group.datasets, seeds)
        if paper:
            known = printed[group.name]
            comparable = not group.lacking and len(group.datasets) == len(group.complete)
            values += beside(cell, known) if comparable else [cell, known, None]
        else:
            values.append(cell)
    return values
