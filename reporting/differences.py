"""What a plug-in adds to its learner: differences paired by seed, with their 95 % confidence interval."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scipy.special import stdtrit

from reporting.names import split_label
from reporting.runs import Column as RunColumn
from reporting.runs import Row, Runs
from reporting.tables import Column, Interval

NOTE = (
    "Δ: DPC or DePT - its prompt learner alone, of the same seed; mean over the seeds that both have, "
    "[95 % confidence interval by Student's t; none for one seed]."
)
BACKBONE_DIR = re.compile(r"^\s*BACKBONE_DIR: (.+)$", re.MULTILINE)


def confidence_interval(values: Sequence[float]) -> Interval | None:
    """The mean and mean ± t(0.975, n - 1) s / sqrt(n), s of n - 1 degrees of freedom; None for no values."""
    if not values:
        return None
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    half = float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / n**0.5
    return Interval(mean, mean - half, mean + half, n)


def trained_on(logs: Sequence[Path]) -> set[str]:
    """The configurations of the backbones that runs say to have begun from (``TRAINER.DPC.BACKBONE_DIR``)."""
    folders = {
        Path(match[1].strip())
        for log in logs
        for match in BACKBONE_DIR.finditer(log.read_text(errors="replace"))
    }
    return {split_label(folder.parent.name, folder.parent.parent.name).cfg for folder in folders}


def backbone_of(row: Row, rows: Mapping[Row, Runs]) -> Runs | None:
    """The runs of the prompt learner that a row's plug-in stands on; None for other rows and where they lack.

    Of several configurations it is the one that the logs name, or none. PromptKD has 0 shots, its DPC not.
    """
    method, plus, _ = row.method.partition(" + ")
    found = [
        other
        for other in rows
        if plus and (other.dataset, other.method) == (row.dataset, method) and other.shots in (row.shots, 0)
    ]
    if len(found) > 1:
        named = trained_on(rows[row].logs)
        found = [other for other in found if {other.cfg} == named]
    return rows[found[0]] if len(found) == 1 else None


def paired(
    ours: Runs,
    backbone: Runs | None,
    columns: Sequence[RunColumn],
    score: Callable[[Sequence[float]], float] = statistics.fmean,
) -> Interval | None:
    """The difference to the backbone in a score of the accuracies in some columns."""
    if backbone is None:
        return None

    def scores(runs: Runs) -> dict[int, float]:
        return {
            seed: score([runs.accuracy[column, seed] for column in columns])
            for seed in runs.complete(columns)
        }

    mine, theirs = scores(ours), scores(backbone)
    return confidence_interval([mine[seed] - theirs[seed] for seed in mine if seed in theirs])


def difference_columns(columns: Sequence[Column]) -> list[Column]:
    """The columns that say what a plug-in adds in some others."""
    return [Column(f"Δ {column.title}", f"{column.name}_gain", "interval") for column in columns]
