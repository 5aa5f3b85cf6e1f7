"""What of a run is there, judged by its settings."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from experiments.run import CONTENTS, DATA_SET, QUIET, Run, is_key, last_epoch, pairs_of

SETTINGS_FILE = "run.json"  # what a run was made with, beside its results


class Kind(Enum):
    DONE = "done"
    TO_RUN = "to run"
    UNFINISHED = "unfinished"
    OUTDATED = "out of date"
    OTHER = "of other settings"


class State(NamedTuple):
    kind: Kind
    why: str = ""


def state_of(run: Run) -> State:
    """What is in a run's folder.

    A result counts as the run's own by the settings beside it (`SETTINGS_FILE`) together with the hash that
    train.py wrote into the result. Where somebody else made it, by the words in its log.
    """
    result = last_result(run.folder)
    if (run.folder / "resume.pth.tar").exists():
        return State(Kind.UNFINISHED, "goes on where it stopped")
    if result is None or (run.trains and last_epoch(run.folder) is None):
        return State(Kind.TO_RUN)
    if difference := other_settings(run, result):
        return State(Kind.OTHER, difference)
    # a result older than the training that it speaks of is out of date
    if run.tests is not None and _is_newer(run.tests.folder, run.folder):
        return State(Kind.OUTDATED, "its training is newer")
    return State(Kind.DONE)


def last_result(folder: Path) -> dict[str, Any] | None:
    """The last test result in a folder; a cut-off line is none."""
    path = folder / "results.jsonl"
    if not path.is_file():
        return None
    for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and record.get("split") == "test":
            return record
    return None


def other_settings(run: Run, result: dict[str, Any]) -> str:
    """How the settings that ``result`` was made with differ from the run's; "" where they don't."""
    written = read_settings(run.folder)
    if written is None:
        return _by_log(run)
    if written.get("config_hash") != result.get("config_hash"):
        return "it was made by another command since"
    return difference(written["settings"], run.settings())


def difference(written: dict[str, str], ours: dict[str, str]) -> str:
    """For instance "OPTIM.LR was 0.1, now 0.002"; "" where both are equal."""
    changed = [key for key in {**ours, **written} if written.get(key) != ours.get(key)]
    if DATA_SET in changed:
        return f"they are of a data set of the same name from elsewhere, {written.get(DATA_SET)}"
    if CONTENTS in changed:
        return f"{ours[DATA_SET]} is not what it was"
    return "; ".join(
        f"{key} was {written.get(key, 'not set')}, now {ours.get(key, 'not set')}" for key in changed
    )


def read_settings(folder: Path) -> dict[str, Any] | None:
    path = folder / SETTINGS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content.get("settings"), dict) else None
    except (OSError, ValueError, AttributeError):
        return None


def write_settings(folder: Path, settings: dict[str, str]) -> None:
    """Leave beside the results what they were made with, and the hash that train.py gave them."""
    result = last_result(folder)
    if result is None:
        return
    content = {"settings": settings, "config_hash": result.get("config_hash")}
    part = folder / f"{SETTINGS_FILE}.part"
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(folder / SETTINGS_FILE)


def _by_log(run: Run) -> str:
    """The same from the log of a run that was made by hand, or before there was a `SETTINGS_FILE`."""
    log = run.folder / "log.txt"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    said = [
        line for line in lines if line.startswith("arguments: ") and " DATASET.SUBSAMPLE_CLASSES " in line
    ]
    if not said:
        return ""
    written, ours = _telling(said[-1].split()[1:]), _telling([*run.flags(), *run.key_values()])
    for key, value in pairs_of(run.said).items():
        # before the protocols said it, it was a default or a configuration's, and is among the log's settings
        if key not in written and f"{key.rpartition('.')[2]}: {value}" in (line.strip() for line in lines):
            written[key] = value
    return difference(written, ours)


def _telling(words: list[str]) -> dict[str, str]:
    """What a command line says that figures depend on."""
    flags = {"--trainer", "--config-file", "--dataset-config-file", "--seed"}
    told = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word in flags}
    first = next((i for i, word in enumerate(words) if is_key(word)), len(words))
    quiet = {"TRAINER.DPC.BACKBONE_DIR", "TRAINER.PROMPTKD.TEACHER_DIR"}
    pairs = pairs_of(tuple(" ".join(words[first:]).split()))
    return told | {key: value for key, value in pairs.items() if key not in QUIET | quiet}


def _is_newer(folder: Path, than: Path) -> bool:
    ours, theirs = than / "results.jsonl", folder / "results.jsonl"
    return theirs.is_file() and theirs.stat().st_mtime > ours.stat().st_mtime
