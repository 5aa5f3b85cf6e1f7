"""What is wrong with the data of a plan: before hours of work, not after."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from experiments.catalogue import DataSet
from experiments.plan import REMEDY
from experiments.run import CONTENTS, DATA_SET, Run
from experiments.state import SETTINGS_FILE, Kind, State, difference, read_settings


def check_data(sets: Iterable[DataSet], root: str) -> None:
    """Decode every image of one's own sets, and look for those of the named ones; the demo's are made.

    Raises:
        ValueError: a set cannot be used as it is; what is wrong was printed.
    """
    named = []
    for data in sets:
        if data.path:
            if _prepare("folder", "--data", data.path, "--check", "--deep"):
                raise ValueError(f"{data.name} cannot be used as it is, see above; nothing was run")
        elif not data.is_demo:
            named.append(data.name)
    if named and _prepare(*named, "--data", root, "--check"):
        raise ValueError("a data set is not there or not whole, see above; nothing was run")


def _prepare(*words: str) -> int:
    return subprocess.call([sys.executable, "-m", "datasets.prepare", *words])


def refuse_foreign_sets(runs: Iterable[Run], output: Path) -> None:
    """Raise ValueError where results of another data set of the same name would stand in the same tables."""
    for data, run in {run.data: run for run in runs}.items():
        ours = run.settings()
        for part in (output / data.name, *output.glob(f"*/{data.name}"), *output.glob(f"*/*/{data.name}")):
            for file in part.glob(f"shots_*/*/*/seed*/{SETTINGS_FILE}"):
                if (written := read_settings(file.parent)) is None:
                    continue
                theirs = {key: written["settings"].get(key) for key in (DATA_SET, CONTENTS)}
                if any(theirs[key] != ours.get(key) for key in theirs):
                    why = difference({**ours, **{k: v for k, v in theirs.items() if v}}, ours)
                    raise ValueError(f"{file.parent} holds results of other settings: {why}; {REMEDY}")


def refuse_changed_sets(runs: Iterable[tuple[Run, State]]) -> None:
    """Raise ValueError where one's own data set was divided anew since its results were made."""
    for run, state in runs:
        if state.kind is not Kind.DONE or not run.data.path:
            continue
        result, split = run.folder / "results.jsonl", Path(run.data.path) / "split.json"
        if split.is_file() and split.stat().st_mtime > result.stat().st_mtime:
            raise ValueError(
                f"{run.data.name} is not what it was: {split} is newer than the results in "
                f"{run.folder}; {REMEDY}"
            )
