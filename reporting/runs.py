"""Accuracies of runs, from the ``results.jsonl`` files and folders that the scripts leave.

Accuracies are percentages at full precision; nothing is rounded before it is averaged.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from reporting.logs import existing_folder, natural_key
from reporting.names import dataset_name, dataset_rank, method_name, method_rank, split_label
from reporting.tables import Cell, mean_and_std

SUBSETS = ("base", "new")
FIELDS: dict[str, type] = {
    **dict.fromkeys(("dataset", "method", "split", "subsample_classes", "time"), str),
    **{"shots": int, "seed": int, "metrics": dict},
}
RUN_FOLDER = re.compile(r"/([^/]+)/([^/]+)/shots_(\d+)/([^/]+)/([^/]+)/seed(\d+)$")
PARTS = {
    **{f"{step}_{subset}": subset for step in ("train", "test") for subset in SUBSETS},
    **{"train": "source", "test": "target", "few_shot": "few_shot"},
    **{part: part for part in ("A_to_A", "A_to_B", "B_to_B", "A_to_B_words")},
}

AVERAGE = "average of "  # and the number of data sets, in place of a data set

Column = str | int


class Run(NamedTuple):
    """One evaluation.

    ``kind`` is base, new (base-to-new), source, target (cross-dataset), few_shot, or the part of an upgrade.
    """

    kind: str
    dataset: str
    method: str
    cfg: str
    source: str  # data set that was trained on, of a target
    shots: int
    seed: int


class Row(NamedTuple):
    """What a line of a table speaks of; ``dataset`` is the one that was trained on."""

    dataset: str
    method: str
    cfg: str
    shots: int

    @property
    def is_average(self) -> bool:
        return self.dataset.startswith(AVERAGE)


Protocol = Callable[[Run], tuple[Row, Column] | None]  # where a run stands in a table, if at all


class NoResultsError(ValueError):
    """No result of a protocol lies below a folder."""


@dataclass
class Runs:
    """Accuracies by (column, seed), and the (column, seed) that left a log: begun, if not finished.

    Attributes:
        chosen_by_test: whether an accuracy is of an epoch that test images chose.
        own_images: whether it is of prompts that were tuned on the data set that was tested.
        reliability: number of images, mean confidence and accuracy, by bins of confidence; empty: not known.
        logs: the files that runs left, finished or not.
    """

    accuracy: dict[tuple[Column, int], float] = field(default_factory=dict)
    begun: set[tuple[Column, int]] = field(default_factory=set)
    chosen_by_test: dict[tuple[Column, int], bool] = field(default_factory=dict)
    own_images: dict[tuple[Column, int], bool] = field(default_factory=dict)
    reliability: dict[tuple[Column, int], list[list[float]]] = field(default_factory=dict)
    logs: list[Path] = field(default_factory=list)

    @property
    def seeds(self) -> set[int]:
        return {seed for _, seed in self.begun | set(self.accuracy)}

    @property
    def columns(self) -> set[Column]:
        return {column for column, _ in self.begun | set(self.accuracy)}

    def complete(self, columns: Iterable[Column]) -> list[int]:
        """Seeds with a result in all columns."""
        columns = list(columns)
        return sorted(s for s in self.seeds if all((column, s) in self.accuracy for column in columns))

    def lacks(self, columns: Iterable[Column], seeds: Iterable[int]) -> list[str]:
        """For instance ["seed 3: base unfinished, new missing"]."""
        columns, said = list(columns), []
        for seed in sorted(seeds):
            states = [
                f"{column} {'unfinished' if (column, seed) in self.begun else 'missing'}"
                for column in columns
                if (column, seed) not in self.accuracy
            ]
            if states:
                said.append(f"seed {seed}: {', '.join(states)}")
        return said

    def cell(self, columns: Sequence[Column], seeds: set[int]) -> Cell | None:
        """The mean of some columns, taken for each seed that has them all; ``seeds`` are those expected."""
        values = [
            statistics.fmean(self.accuracy[column, seed] for column in columns)
            for seed in self.complete(columns)
        ]
        return mean_and_std(values, len(seeds))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Records of a ``results.jsonl``; a cut-off last line is left out, other bad ones raise ValueError."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # no newline behind it: its writer was stopped
                break
            raise ValueError(
                f"{path}, line {number}: not JSON ({error}); mend or remove that line"
            ) from error
        if problem := what_is_wrong(record):
            raise ValueError(f"{path}, line {number}: {problem}; mend or remove that line")
        records.append(record)
    return records


def what_is_wrong(record: Any) -> str | None:
    """What a line of results.jsonl lacks, if anything."""
    if not isinstance(record, dict):
        return "not a record, which begins with {"
    if missing := [name for name in FIELDS if name not in record]:
        return f"{', '.join(missing)} is missing"
    metrics = record["metrics"]
    if not isinstance(metrics, dict) or "accuracy" not in metrics:
        return "metrics.accuracy is missing"
    for name, kind in FIELDS.items():
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            return f"{name} is {str(record[name])[:100]!r}, not {'a whole number' if kind is int else 'text'}"
    accuracy = metrics["accuracy"]
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 <= accuracy <= 100:
        return f"metrics.accuracy is {repr(accuracy)[:100]}, not a number from 0 to 100"
    return None


def finished_runs(directory: Path) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Every test result below a folder with its record.

    A record speaks for itself, but for its protocol when all classes were tested: its folder says that.
    """
    for path in sorted(filter(Path.is_file, directory.rglob("results.jsonl")), key=natural_key):
        folder = RUN_FOLDER.search(path.parent.absolute().as_posix())
        label = path.parent.parent.name
        for record in read_results(path):
            subset = record["subsample_classes"]
            kind = subset if subset in SUBSETS else PARTS.get(folder[1]) if folder else None
            if record["split"] == "test" and kind:
                dataset, trainer = record["dataset"], record["method"]
                yield named_run(kind, dataset, trainer, label, record["shots"], record["seed"]), record


def begun_runs(directory: Path) -> Iterator[tuple[Run, Path]]:
    """Every run that left a log, finished or not, and that log; folders say what they are."""
    for log in filter(Path.is_file, directory.rglob("log.txt")):
        match = RUN_FOLDER.search(log.parent.absolute().as_posix())
        if match is not None and match[1] in PARTS:
            part, dataset, shots, trainer, label, seed = match.groups()
            yield named_run(PARTS[part], dataset, trainer, label, int(shots), int(seed)), log


def named_run(kind: str, dataset: str, trainer: str, label: str, shots: int, seed: int) -> Run:
    cfg, variant, source = split_label(label, trainer)
    return Run(kind, dataset_name(dataset), method_name(trainer, variant), cfg, source, shots, seed)


def collect(directory: Path, protocol: Protocol, what: str, measure: str = "accuracy") -> dict[Row, Runs]:
    """All runs of a protocol anywhere below a folder. Of several results for one run the newest counts.

    Args:
        what: a result of the protocol, in words.
        measure: what stands in the place of accuracy, by its name in the results.

    Raises FileNotFoundError for a wrong folder and NoResultsError where it holds no result, or one without
    that measure.
    """
    rows: dict[Row, Runs] = defaultdict(Runs)
    times: dict[tuple[Row, Column, int], str] = {}
    finished = list(finished_runs(existing_folder(directory)))
    registered = {run.dataset for run, _ in finished}

    def place_of(run: Run) -> tuple[Row, Column] | None:
        # folders are named after the configuration file, results after the data set's class: EuroSAT, eurosat
        source = dataset_name(run.source, registered)
        return protocol(run._replace(dataset=dataset_name(run.dataset, registered), source=source))

    for run, record in finished:
        if (place := place_of(run)) is None:
            continue
        key = (*place, run.seed)
        if str(record["time"]) >= times.get(key, ""):
            times[key] = str(record["time"])
            runs, cell = rows[place[0]], (place[1], run.seed)
            if measure not in record["metrics"]:
                raise NoResultsError(
                    f"directory: {run.method} on {run.dataset}, seed {run.seed}, has no {measure}: an "
                    "earlier version or another program tested it; test it again"
                )
            runs.accuracy[cell] = record["metrics"][measure]
            runs.reliability[cell] = record.get("reliability") or []
            runs.chosen_by_test[cell] = record.get("selected_on") == "test"
            runs.own_images[cell] = record.get("tuned_on") == record["dataset"]
    if not rows:
        raise NoResultsError(f"directory: no results.jsonl below {directory} holds {what}")
    for run, log in begun_runs(directory):
        if (place := place_of(run)) is not None:
            rows[place[0]].begun.add((place[1], run.seed))
            rows[place[0]].logs.append(log)
    return dict(rows)


def seeds_by_dataset(rows: dict[Row, Runs]) -> dict[str, set[int]]:
    """The seeds that a row should have are all those seen on its data set."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for row, runs in rows.items():
        seeds[row.dataset] |= runs.seeds
    return seeds


def shown_methods(rows: dict[Row, Runs]) -> dict[Row, str]:
    """The methods' names, with the configuration where a data set has several of one method.

    With the shots, too, where a data set has several; 0, unlabelled images or none, is no number of shots.
    A method whose epochs were chosen by test images is called so.
    """
    configs, shots = defaultdict(set), defaultdict(set)
    for row in rows:
        configs[row.dataset, row.method].add(row.cfg)
        shots[row.dataset].update({row.shots} - {0})
    shown = {}
    for row in rows:
        details = [row.cfg] if len(configs[row.dataset, row.method]) > 1 else []
        details += [f"{row.shots} shots"] if row.shots and len(shots[row.dataset]) > 1 else []
        details += ["selected on test images"] if any(rows[row].chosen_by_test.values()) else []
        shown[row] = f"{row.method} ({', '.join(details)})" if details else row.method
    return shown


def row_rank(row: Row) -> tuple[object, ...]:
    """Sorts rows by data set and method, as the papers do."""
    return (dataset_rank(row.dataset), method_rank(row.method), row.cfg, row.shots)


def averages(rows: dict[Row, Runs]) -> dict[Row, Runs]:
    """The mean over all data sets of ``rows`` for each method, by column and seed, as the papers report it.

    What lacks on one data set lacks in the average. A single data set, which it would repeat, has none.
    """
    datasets = {row.dataset for row in rows}
    if len(datasets) < 2:
        return {}
    result = {}
    for method, cfg, shots in {row[1:] for row in rows}:
        runs = [rows.get(Row(name, method, cfg, shots), Runs()) for name in datasets]
        everywhere = set.intersection(*(set(part.accuracy) for part in runs))
        mean = {key: statistics.fmean(part.accuracy[key] for part in runs) for key in everywhere}
        begun = set().union(*(part.begun | set(part.accuracy) for part in runs))
        chosen = {key: any(part.chosen_by_test.get(key) for part in runs) for key in everywhere}
        logs = [log for part in runs for log in part.logs]
        row = Row(f"{AVERAGE}{len(datasets)}", method, cfg, shots)
        result[row] = Runs(mean, begun, chosen, logs=logs)
    return result
