"""What a run left in its folder beside its figures: settings, versions, progress, accuracies of classes.

Everything is read as text and numbers; nothing that is read is executed or trusted to be well formed.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reporting.logs import existing_folder, natural_key
from reporting.runs import read_results

PROGRESS = re.compile(r"epoch \[(\d+)/\d+\](?: batch )?\[(\d+)/(\d+)\]")
METER = re.compile(r"(\w+) \S+ \(([\d.eE+-]+|nan|-?inf)\)")  # the mean of the epoch so far stands in brackets
STEP_TIME = re.compile(r"\btime \S+ \((\d+\.\d+)\)")
RATE = re.compile(r"\blr ([\d.eE+-]+)")
MACHINE_LINE = re.compile(r"[A-Z][\w ]*: \S")
CLASS_LINE = re.compile(r"\* class: \d+ \((.*)\)\ttotal: ([\d,]+)\tcorrect: ([\d,]+)\t")
NOT_DRAWN = ("time", "data")  # seconds a batch
LARGEST_LOGITS = 64 * 2**20  # bytes, unpacked: a page should not take minutes
LONGEST_LINE = (
    10_000  # characters of a log's line; what searches them takes time that grows faster than they do
)
LONGEST = 500  # characters of a value from a run.json


@dataclass
class RunFolder:
    """A folder with a log or results.

    Attributes:
        path: below the folder that is reported on.
        records: the lines of its results.jsonl.
        arguments: the words after train.py.
        facts: texts by "settings", "machine" and "run.json", where these are there, and the fact's name.
        progress: by measure (a loss, acc, lr), the epochs that have passed -> mean of the epoch so far.
        per_class: images and correct ones of each class in the last evaluation.
        problems: what could not be read, and why.
    """

    path: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    arguments: str = ""
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    progress: dict[str, dict[float, float]] = field(default_factory=dict)
    per_class: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def result(self) -> dict[str, Any] | None:
        """The newest record of a test."""
        tests = [record for record in self.records if record["split"] == "test"]
        return max(tests, key=lambda record: str(record["time"])) if tests else None


def run_folders(directory: Path) -> list[RunFolder]:
    """Every folder below one that holds a log.txt or a results.jsonl.

    Raises FileNotFoundError for a wrong folder and ValueError where none is there.
    """
    names = ("log.txt", "results.jsonl")
    files = {path.parent for name in names for path in existing_folder(directory).rglob(name)}
    if not files:
        raise ValueError(f"directory: no log.txt or results.jsonl lies below {directory}")
    return [read_folder(directory, path) for path in sorted(files, key=natural_key)]


def read_folder(directory: Path, path: Path) -> RunFolder:
    folder = RunFolder(path.relative_to(directory))
    if (path / "results.jsonl").is_file():
        folder.records = read_results(path / "results.jsonl")
    if (path / "log.txt").is_file():
        with (path / "log.txt").open(errors="replace") as file:
            read_log(folder, file)
    if (path / "run.json").is_file():
        try:
            facts = json.loads((path / "run.json").read_text())
            folder.facts["run.json"] = dict(flat(facts))
        except (ValueError, RecursionError) as error:
            folder.problems.append(f"run.json: {error}")
    if not folder.per_class and (path / "logits.npz").is_file():
        try:
            folder.per_class = count_hits(path / "logits.npz")
        except (ValueError, KeyError, IndexError, OSError, EOFError, zipfile.BadZipFile) as error:
            folder.problems.append(f"logits.npz: {error}")
    return folder


def read_log(folder: RunFolder, lines: Iterable[str]) -> None:
    """Settings and machine count as the last start of the run said them."""
    block: list[str] | None = None
    machine = False
    for line in lines:
        line = line.rstrip("\n")[:LONGEST_LINE]
        if line.startswith("arguments: "):
            folder.arguments = line.removeprefix("arguments: ")
        elif line == "settings:":
            block = []
        elif line == "machine:":
            if block is not None:
                folder.facts["settings"] = dict(flat_settings(block))
            block, machine = None, True
            folder.facts["machine"] = {}
        elif block is not None:
            block.append(line)
        elif machine and MACHINE_LINE.match(line):
            name, _, text = line.partition(": ")
            folder.facts["machine"][name] = text
        else:
            machine = False
            read_event(folder, line)


def read_event(folder: RunFolder, line: str) -> None:
    """A line of progress or of an evaluation."""
    if "epoch [" in line and (place := PROGRESS.search(line)):
        epoch, batch, batches = map(int, place.groups())
        passed = epoch - 1 + batch / max(batches, 1)
        for name, mean in METER.findall(line):
            if name not in NOT_DRAWN:
                note(folder, name, passed, mean)
        if rate := RATE.search(line):
            note(folder, "lr", passed, rate[1])
    elif "=> result" in line:
        folder.per_class = {}
    elif "* class: " in line and (found := CLASS_LINE.search(line)):
        folder.per_class[found[1]] = (number(found[2]), number(found[3]))


def training_seconds(log: Path) -> float | None:
    """Time of a training's steps, by its log's lines of progress; None where it has none."""
    epochs: dict[int, float] = {}
    with log.open(errors="replace") as file:
        for line in file:
            place, mean = PROGRESS.search(line[:LONGEST_LINE]), STEP_TIME.search(line[:LONGEST_LINE])
            if place and mean:
                epochs[int(place[1])] = int(place[3]) * float(mean[1])
    return sum(epochs.values()) if epochs else None


def note(folder: RunFolder, name: str, passed: float, text: str) -> None:
    try:
        folder.progress.setdefault(name, {})[passed] = float(text)
    except ValueError:  # such as "1-2": a damaged line
        folder.problems.append(f"log.txt: {name} {text} at epoch {passed:.2f}")


def number(text: str) -> int:
    return int(text.replace(",", "") or 0)


def flat_settings(lines: list[str]) -> Iterator[tuple[str, str]]:
    """("OPTIM.LR", "0.002") and so on, of settings as a yacs node prints them."""
    above: list[tuple[int, str]] = []
    indents = [len(line) - len(line.lstrip()) for line in lines] + [0]
    for i, line in enumerate(lines):
        name, colon, text = line.strip().partition(":")
        while above and above[-1][0] >= indents[i]:
            above.pop()
        if colon and not text.strip() and indents[i + 1] > indents[i]:
            above.append((indents[i], name))
        elif colon:
            yield ".".join([*(key for _, key in above), name]), text.strip()


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a JSON value by their dotted names; lists of plain values are leaves."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for i, inner in enumerate(value):
            yield from flat(inner, f"{name}[{i}]")
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield name, text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def count_hits(path: Path) -> dict[str, tuple[int, int]]:
    """Images and correct ones of each class from the logits of an evaluation.

    Raises ValueError for a file that is too large or not what ``TEST.SAVE_LOGITS`` writes.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > LARGEST_LOGITS:
        raise ValueError(
            f"not read, since it unpacks to {size / 2**20:.0f} MB; TEST.PER_CLASS_RESULT logs it"
        )
    with np.load(path, allow_pickle=False) as arrays:
        labels, logits, names = (arrays[name] for name in ("label", "logits", "classnames"))
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(names) != logits.shape[1]:
        raise ValueError(f"shapes {labels.shape}, {logits.shape}, {names.shape} do not belong together")
    if labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0 or labels.max() >= len(names):
        raise ValueError("its labels are no classes")
    hits = logits.argmax(axis=1) == labels
    total, correct = (np.bincount(labels[chosen], minlength=len(names)) for chosen in (hits | True, hits))
    return {str(names[i]): (int(total[i]), int(correct[i])) for i in range(len(names)) if total[i]}


def thinned(points: dict[float, float], most: int = 120) -> list[tuple[float, float]]:
    """At most so many of the finite points, the first and the last among them."""
    finite = [(x, y) for x, y in sorted(points.items()) if math.isfinite(y)]
    if len(finite) <= most:
        return finite
    return [finite[round(i * (len(finite) - 1) / (most - 1))] for i in range(most)]
