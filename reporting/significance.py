"""Whether what a plug-in adds holds over data sets: intervals and a sign test of paired differences."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from reporting.base_new import MEASURES, SCORES, collect_base_new
from reporting.differences import backbone_of
from reporting.names import method_rank
from reporting.runs import SUBSETS, NoResultsError, Row, Runs
from reporting.tables import Column, Interval, Table

RESAMPLES = 10_000
NOTE = (
    "Δ: a plug-in - its prompt learner, of the same data set and seed; the mean over data sets of their "
    "means over seeds [95 % interval by a bootstrap that draws data sets, and seeds within them, {} times]. "
    "+/=/-: data sets on which the mean is above, at or below 0; p: of the two-sided sign test over them, "
    "ties left out. With n data sets it cannot be below 2^(1-n): 0.5 with two, 0.031 with six."
)


def differences(
    rows: Mapping[Row, Runs], score: Callable[[Sequence[float]], float]
) -> dict[str, dict[str, list[float]]]:
    """By method with a plug-in and data set: ours - its learner's score, of every seed that both have."""
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for row, runs in rows.items():
        if (backbone := backbone_of(row, rows)) is None:
            continue

        def value(of: Runs, seed: int) -> float:
            return score([of.accuracy[subset, seed] for subset in SUBSETS])

        seeds = sorted(set(runs.complete(SUBSETS)) & set(backbone.complete(SUBSETS)))
        method = f"{row.method} ({changed})" if (changed := row.cfg.partition("+")[2]) else row.method
        if seeds:
            found[method][row.dataset] = [value(runs, seed) - value(backbone, seed) for seed in seeds]
    return found


def bootstrap(groups: Sequence[Sequence[float]], resamples: int = RESAMPLES) -> Interval:
    """The mean of the groups' means, and its 95 % percentile interval.

    A resample draws as many groups with replacement, and of each as many values with replacement. None of one
    value alone has an interval.
    """
    mean = statistics.fmean(statistics.fmean(group) for group in groups)
    count = len(groups)
    if count == 1 and len(groups[0]) == 1:
        return Interval(mean, None, None, 1)
    rng = np.random.default_rng(0)
    means = np.stack([
        rng.choice(np.asarray(group), (resamples, count, len(group))).mean(axis=2) for group in groups
    ])  # [group, resample, place]  # fmt: skip
    chosen = rng.integers(count, size=(resamples, count))
    drawn = means[chosen, np.arange(resamples)[:, None], np.arange(count)[None, :]].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(mean, float(low), float(high), count)


def sign_test(values: Sequence[float]) -> tuple[str, float | None]:
    """``+/=/-`` as text, and the two-sided p of as many signs of one kind by chance; None without a sign."""
    above, below = sum(value > 0 for value in values), sum(value < 0 for value in values)
    text = f"{above}/{len(values) - above - below}/{below}"
    return text, float(binomtest(above, above + below).pvalue) if above + below else None


def significance_table(directory: Path) -> Table:
    """Of all plug-ins among the base-to-new runs below a folder.

    Raises:
        ValueError: as `collect` does, or no run stands beside its learner's.
    """
    rows = collect_base_new(directory)
    by_measure = [differences(rows, score) for score in SCORES]
    if not by_measure[0]:
        raise NoResultsError(
            f"directory: no plug-in below {directory} has a seed in common with its prompt learner"
        )
    columns = [Column("Method", "method")]
    for measure in MEASURES:
        columns += [
            Column(f"Δ {measure.title}", f"{measure.name}_gain", "interval"),
            Column("+/=/-", f"{measure.name}_signs"),
            Column("p", f"{measure.name}_p"),
        ]
    columns += [Column("Data sets", "datasets", "count"), Column("Pairs", "pairs", "count")]
    lines: list[list[Any]] = []
    for method in sorted(by_measure[0], key=rank):
        line: list[Any] = [method]
        for found in by_measure:
            groups = list(found[method].values())
            signs, p = sign_test([round(statistics.fmean(group), 9) for group in groups])
            line += [bootstrap(groups), signs, "-" if p is None else f"{p:.3f}"]
        lines.append([*line, len(groups), sum(map(len, groups))])
    return Table(columns, lines, [NOTE.format(f"{RESAMPLES:,}")])


def rank(method: str) -> tuple[object, ...]:
    """As `method_rank`, what is changed behind it."""
    return (*method_rank(re.sub(r" \([^()]*=.*\)$", "", method)), method)
