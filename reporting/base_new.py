"""Base, New and their harmonic mean H per data set and method, from the ``results.jsonl`` files of runs.

Accuracies are percentages at full precision; nothing is rounded before it is averaged.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from reporting.logs import existing_folder, natural_key

SUBSETS = ("base", "new")
FIELDS = ("dataset", "method", "split", "subsample_classes", "shots", "seed", "metrics", "time")
RUN_FOLDER = re.compile(r"/(?:train|test)_(base|new)/([^/]+)/shots_(\d+)/([^/]+)/([^/]+)/seed(\d+)/log\.txt$")


class Row(NamedTuple):
    """What a line of the table speaks of; ``cfg`` is the name of the folder that holds the seeds' folders."""

    dataset: str
    method: str
    cfg: str
    shots: int


@dataclass
class Runs:
    """Accuracies by (subset, seed), and the (subset, seed) that left a log: begun, if not finished."""

    accuracy: dict[tuple[str, int], float] = field(default_factory=dict)
    begun: set[tuple[str, int]] = field(default_factory=set)

    @property
    def seeds(self) -> set[int]:
        return {seed for _, seed in self.begun | set(self.accuracy)}

    @property
    def complete(self) -> list[int]:
        """Seeds with a result on both base and new classes."""
        return sorted(
            seed for seed in self.seeds if all((subset, seed) in self.accuracy for subset in SUBSETS)
        )

    def lacks(self, seed: int) -> str:
        """For instance "seed 3: base unfinished, new missing"."""
        states = [
            f"{subset} {'unfinished' if (subset, seed) in self.begun else 'missing'}"
            for subset in SUBSETS
            if (subset, seed) not in self.accuracy
        ]
        return f"seed {seed}: {', '.join(states)}"


def read_results(path: Path) -> list[dict]:
    """Records of a ``results.jsonl``; a cut-off last line is left out, other bad ones raise ValueError."""
    lines = path.read_text().split("\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline behind it: its writer was stopped
                break
            raise ValueError(
                f"{path}, line {number}: not JSON ({error}); mend or remove that line"
            ) from error
        missing = [name for name in FIELDS if name not in record]
        if missing or "accuracy" not in record["metrics"]:
            raise ValueError(f"{path}, line {number}: {', '.join(missing) or 'metrics.accuracy'} is missing")
        records.append(record)
    return records


def collect(directory: Path) -> dict[Row, Runs]:
    """All runs anywhere below a folder. Of several results for one row, subset and seed the newest counts.

    Raises FileNotFoundError for a wrong folder and ValueError where it holds no result.
    """
    rows: dict[Row, Runs] = defaultdict(Runs)
    times: dict[tuple[Row, str, int], str] = {}
    for path in sorted(existing_folder(directory).rglob("results.jsonl"), key=natural_key):
        for record in read_results(path):
            subset, seed, time = record["subsample_classes"], record["seed"], str(record["time"])
            if record["split"] != "test" or subset not in SUBSETS:
                continue
            row = Row(record["dataset"], record["method"], path.parent.parent.name, record["shots"])
            if time >= times.get((row, subset, seed), ""):
                times[row, subset, seed] = time
                rows[row].accuracy[subset, seed] = record["metrics"]["accuracy"]
    if not rows:
        raise ValueError(f"directory: no results.jsonl below {directory} holds a test on base or new classes")
    note_begun(directory, rows)
    return dict(rows)


def note_begun(directory: Path, rows: dict[Row, Runs]) -> None:
    """Adds the runs that left a log, so that those without a result are shown; paths say what they are."""
    for log in directory.rglob("log.txt"):
        match = RUN_FOLDER.search(log.absolute().as_posix())
        if match is None:
            continue
        subset, dataset, shots, method, cfg, seed = match.groups()
        # folders are named after the configuration file, results after the data set's class: EuroSAT, eurosat
        name = next((row.dataset for row in rows if row.dataset.lower() == dataset.lower()), dataset)
        rows[Row(name, method, cfg, int(shots))].begun.add((subset, int(seed)))


def averages(rows: dict[Row, Runs]) -> dict[Row, Runs]:
    """The mean over all data sets of ``rows`` for each method, by subset and seed, as the papers report it.

    What lacks on one data set lacks in the average.
    """
    datasets = {row.dataset for row in rows}
    result = {}
    for method, cfg, shots in {row[1:] for row in rows}:
        runs = [rows.get(Row(name, method, cfg, shots), Runs()) for name in datasets]
        everywhere = set.intersection(*(set(part.accuracy) for part in runs))
        mean = {key: statistics.fmean(part.accuracy[key] for part in runs) for key in everywhere}
        begun = set().union(*(part.begun | set(part.accuracy) for part in runs))
        result[Row(f"average of {len(datasets)}", method, cfg, shots)] = Runs(mean, begun)
    return result


def harmonic_mean(base: float, new: float) -> float:
    """H = 2 base new / (base + new), the single number for the base/new trade-off; 0 if both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


class Cell(NamedTuple):
    """Mean and sample standard deviation (n - 1 in the denominator; None for n = 1)."""

    mean: float
    std: float | None


def mean_and_std(values: Sequence[float]) -> Cell | None:
    """None for no values."""
    if not values:
        return None
    return Cell(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


class TableRow(NamedTuple):
    """``missing`` names the seeds that were left out and why; a cell is None where no seed is complete."""

    dataset: str
    method: str
    shots: int
    base: Cell | None
    new: Cell | None
    h: Cell | None
    n: int
    missing: list[str]


def make_table(rows: dict[Row, Runs]) -> list[TableRow]:
    """One TableRow per Row. H is taken per seed, before the mean; only complete seeds are averaged.

    The seeds that a row should have are all those seen on its data set.
    """
    seeds: dict[str, set[int]] = defaultdict(set)
    configs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row, runs in rows.items():
        seeds[row.dataset] |= runs.seeds
        configs[row.dataset, row.method].add(row.cfg)
    table = []
    for row, runs in rows.items():
        base, new = ([runs.accuracy[subset, seed] for seed in runs.complete] for subset in SUBSETS)
        h = [harmonic_mean(*pair) for pair in zip(base, new, strict=True)]
        several = len(configs[row.dataset, row.method]) > 1
        table.append(
            TableRow(
                dataset=row.dataset,
                method=f"{row.method} ({row.cfg})" if several else row.method,
                shots=row.shots,
                base=mean_and_std(base),
                new=mean_and_std(new),
                h=mean_and_std(h),
                n=len(h),
                missing=[runs.lacks(seed) for seed in sorted(seeds[row.dataset] - set(runs.complete))],
            )
        )
    return sorted(table, key=lambda row: (row.dataset, row.shots, method_rank(row.method)))


def method_rank(method: str) -> tuple[bool, str, str]:
    """Zero-shot first, then each prompt learner with its DPC variant right behind it."""
    return (not method.startswith("Zeroshot"), re.split("_DPC| ", method)[0], method)
