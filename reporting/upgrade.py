"""Prompts tuned on CLIP A and used on its successor B: what they are worth there, see docs/protocols.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reporting.logs import existing_folder
from reporting.names import ZERO_SHOT
from reporting.runs import Column as RunColumn
from reporting.runs import (
    NoResultsError,
    Row,
    Run,
    Runs,
    averages,
    collect,
    row_rank,
    seeds_by_dataset,
    shown_methods,
)
from reporting.tables import Cell, Column, Table, mean_and_std

OLD, MOVED, NEW, WORDS = "A_to_A", "A_to_B", "B_to_B", "A_to_B_words"
WHAT = "a run of the upgrade protocol (A_to_A, A_to_B, B_to_B)"
NOTE = (
    "Accuracy in %, mean ± sample standard deviation over seeds; [2/3]: over 2 of the 3 seeds. "
    "A -> B: tuned on A, tested on B without a further step. Gain: A -> B minus zero-shot B, by seed; "
    "0 or more is compatible. Recovery: the mean gain as a share of what tuning on B gains. "
    "Words: the control, E_B(words) + (ctx - E_A(words))."
)


def upgrade_protocol(run: Run) -> tuple[Row, RunColumn] | None:
    if run.kind not in (OLD, MOVED, NEW, WORDS):
        return None
    # what was trained on another data set is a row of its own
    source = "" if run.source in (run.dataset, "ImageNet") else f" from {run.source}"
    return Row(run.dataset, run.method + source, run.cfg, run.shots), run.kind


def collect_upgrades(directory: Path) -> dict[str, dict[Row, Runs]]:
    """The runs below a folder by pair, such as ``tiny_clip-to-next_clip``; raises as `collect` does."""
    folders = {path.parent for part in (OLD, NEW) for path in existing_folder(directory).rglob(part)}
    if not folders:
        raise NoResultsError(f"directory: no results.jsonl below {directory} holds {WHAT}")
    pairs = {folder.name: collect(folder, upgrade_protocol, WHAT) for folder in sorted(folders)}
    if len(pairs) < len(folders):
        raise ValueError(f"several folders below {directory} are of one pair: name one of them")
    return pairs


def upgrade_table(pair: str, rows: dict[Row, Runs]) -> Table:
    """One line a data set and method, with the averages over data sets below."""
    old, _, new = pair.partition("-to-")
    titles = ("zero-shot A", "A -> A", "zero-shot B", "A -> B", "B -> B", "gain")
    names = ("zero_shot_old", "old", "zero_shot_new", "moved", "new", "gain")
    columns = [Column("Data set", "dataset", spans=True), Column("Method", "method")]
    columns += [Column(title, name, "cell") for title, name in zip(titles, names, strict=True)]
    columns += [Column("recovery", "recovery", "printed"), Column("words", "words", "cell")]
    lines: list[list[Any]] = []
    notes = [f"A: {old}; B: {new}.", NOTE]
    for part in (rows, averages(rows)):
        methods, seeds = shown_methods(part), seeds_by_dataset(part)
        for row in sorted(part, key=row_rank):
            if row.method.startswith(ZERO_SHOT):
                continue
            values, lacking = _values(part[row], _zero_shot(row, part), seeds[row.dataset])
            lines.append([row.dataset, methods[row], *values])
            if lacking and not row.is_average:
                notes.append(f"Incomplete: {row.dataset}, {methods[row]}, {lacking}.")
    return Table(columns, lines, notes)


def _zero_shot(row: Row, rows: dict[Row, Runs]) -> Runs:
    found = [r for r in rows if r.dataset == row.dataset and r.method == ZERO_SHOT and r.shots == row.shots]
    return rows[found[0]] if found else Runs()


def _values(runs: Runs, plain: Runs, seeds: set[int]) -> tuple[list[Any], str]:
    gains = [
        runs.accuracy[MOVED, seed] - plain.accuracy[NEW, seed]
        for seed in runs.complete([MOVED])
        if (NEW, seed) in plain.accuracy
    ]
    gain = mean_and_std(gains, len(seeds))
    again, start = runs.cell([NEW], seeds), plain.cell([NEW], seeds)
    moved = runs.cell([MOVED], seeds)
    cells = [plain.cell([OLD], seeds), runs.cell([OLD], seeds), start, moved, again, gain]
    lacking = "; ".join(runs.lacks([OLD, MOVED, NEW], seeds))
    return [*cells, _recovery(gain, again, start), runs.cell([WORDS], seeds)], lacking


def _recovery(gain: Cell | None, again: Cell | None, start: Cell | None) -> float | None:
    """The share in [.., 1] and above; none where tuning on B gains nothing."""
    if gain is None or again is None or start is None or again.mean <= start.mean:
        return None
    return gain.mean / (again.mean - start.mean)
