"""All that lies below a folder as one HTML page, which needs no network, no scripts and no other file.

What comes from files is text there: jinja2 escapes it, and the page's own policy forbids scripts and loading.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reporting.charts import LineChart, colour, line_chart
from reporting.logs import natural_key
from reporting.run_folders import RunFolder, run_folders, thinned
from reporting.sections import sections

TEMPLATES = Path(__file__).parent / "templates"
ABSENT = "(not said)"
PLUGIN = re.compile(r"_(DPC|DePT)$")


class Curves(NamedTuple):
    """Charts of the trainings that differ in their seed alone; ``seeds`` with their colours."""

    title: str
    seeds: list[tuple[str, str]]
    charts: list[LineChart]


def training_curves(folders: Sequence[RunFolder]) -> list[Curves]:
    by_group: dict[Path, list[RunFolder]] = defaultdict(list)
    for folder in folders:
        if folder.progress:
            by_group[folder.path.parent].append(folder)
    found = []
    for group, runs in by_group.items():
        measures = dict.fromkeys(name for run in runs for name in run.progress)
        ordered = sorted(measures, key=lambda name: (not name.startswith("loss"), name == "lr", name))
        charts = [
            line_chart(name, {run.path.name: thinned(run.progress.get(name, {})) for run in runs})
            for name in ordered
        ]
        seeds = [(run.path.name, colour(i)) for i, run in enumerate(runs)]
        found.append(Curves(str(group), seeds, [chart for chart in charts if chart]))
    return found


class ClassTable(NamedTuple):
    """Accuracies of classes on one data set: ``rows`` have class, images and a text for each method."""

    title: str
    methods: list[str]
    rows: list[tuple[str, int, list[str]]]


def class_tables(folders: Sequence[RunFolder]) -> list[ClassTable]:
    """The means over seeds, of folders such as test_new/eurosat."""
    by_place: dict[Path, dict[str, list[RunFolder]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        if folder.per_class:
            group = folder.path.parent
            shots = next((part for part in group.parents if part.name.startswith("shots_")), group)
            method = str(group.relative_to(shots)) if shots != group else group.name
            place = shots.parent if shots != group else group.parent
            by_place[place][f"{method}, {shots.name}" if shots != group else method].append(folder)
    tables = []
    for place, methods in by_place.items():
        classes = dict.fromkeys(name for runs in methods.values() for run in runs for name in run.per_class)
        rows = []
        for name in classes:
            counts = {
                method: [run.per_class[name] for run in runs if name in run.per_class]
                for method, runs in methods.items()
            }
            images = max(total for pairs in counts.values() for total, _ in pairs)
            found = {method: mean_accuracy(pairs) for method, pairs in counts.items()}
            rows.append((name, images, [with_change(method, found) for method in methods]))
        titles = [f"{method} ({len(runs)} seed{'s' * (len(runs) > 1)})" for method, runs in methods.items()]
        tables.append(ClassTable(str(place), titles, rows))
    return tables


def mean_accuracy(counts: Sequence[tuple[int, int]]) -> float | None:
    """Of (images, correct) of each seed, in percent."""
    shares = [100 * correct / total for total, correct in counts if total]
    return sum(shares) / len(shares) if shares else None


def with_change(method: str, found: Mapping[str, float | None]) -> str:
    """A class's accuracy, and in brackets what a plug-in adds to its prompt learner's, where that is one."""
    if (accuracy := found[method]) is None:
        return "-"
    trainer, _, rest = method.partition("/")
    learner = PLUGIN.sub("", trainer)
    others = [
        value
        for name, value in found.items()
        if learner != trainer
        and name.partition("/")[0] == learner
        and name.partition(", ")[2] == rest.partition(", ")[2]
    ]
    change = f" ({accuracy - others[0]:+.1f})" if len(others) == 1 and others[0] is not None else ""
    return f"{accuracy:.1f}{change}"


class Fact(NamedTuple):
    """A setting or version: its values with the number of runs, the most frequent one first."""

    name: str
    values: list[tuple[str, int]]


def usual_facts(folders: Sequence[RunFolder], kind: str) -> list[Fact]:
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for folder in folders:
        for name, text in folder.facts.get(kind, {}).items():
            counted[name][text] += 1
    return [Fact(name, values.most_common()) for name, values in counted.items()]


@dataclass
class RunDetails:
    """A run, and what it has other than most runs: facts by kind."""

    folder: RunFolder
    unusual: dict[str, list[tuple[str, str]]]

    @property
    def marks(self) -> list[str]:
        marks = [] if self.folder.result else ["unfinished"]
        if any(record.get("selected_on") == "test" for record in self.folder.records):
            marks.append("selected on test images")
        return marks


def details_of(folders: Sequence[RunFolder], facts: dict[str, list[Fact]]) -> list[RunDetails]:
    usual = {kind: {fact.name: fact.values[0][0] for fact in each} for kind, each in facts.items()}
    found = []
    for folder in folders:
        unusual = {}
        for kind, own in folder.facts.items():
            other = [
                (name, own.get(name, ABSENT)) for name in usual[kind] if own.get(name) != usual[kind][name]
            ]
            if other:
                unusual[kind] = other
        found.append(RunDetails(folder, unusual))
    return found


def render(directory: Path, paper: bool = False) -> str:
    """The page. Raises FileNotFoundError or ValueError as `run_folders` and the tables do."""
    folders = run_folders(directory)
    facts = {kind: usual_facts(folders, kind) for kind in ("settings", "machine", "run.json")}
    runs = details_of(folders, facts)
    commits = Counter(str(f.result.get("git_commit") or ABSENT) for f in folders if f.result)
    values: dict[str, Any] = {
        "directory": directory.absolute().as_posix(),
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "sections": sections(directory, paper),
        "curves": training_curves(folders),
        "classes": class_tables(folders),
        "facts": facts,
        "runs": sorted(runs, key=lambda run: natural_key(run.folder.path)),
        "commits": commits.most_common(),
    }
    return page("report.html", values)


def page(template: str, values: dict[str, Any]) -> str:
    """A template with what comes from files as escaped text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def write_report(directory: Path, path: Path, paper: bool = False) -> None:
    """Write the page on all runs below a folder to ``path``; ``paper`` adds the DPC paper's figures.

    Raises FileNotFoundError or ValueError as `render` does.
    """
    text = render(directory, paper)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
