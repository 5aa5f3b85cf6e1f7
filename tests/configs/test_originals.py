"""Every value of the originals' YAML files against ours; `configs/differences.yaml` has the reasons.

originals.json holds, by file, what each repository's copy sets beside the ``common`` values.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainers.aliases import config_file

REPOSITORY = Path(__file__).parents[2]
OURS = REPOSITORY / "configs/trainers"
ORIGINALS = json.loads((Path(__file__).parent / "originals.json").read_text())
DIFFERENCES = yaml.safe_load((REPOSITORY / "configs/differences.yaml").read_text())
COPIES = [
    (file, repository, copy) for file, copies in ORIGINALS["files"].items() for copy in copies
    for repository in copy["repositories"]
]  # fmt: skip


def settings_of(copy: dict[str, Any]) -> dict[str, Any]:
    common = {k: v for k, v in ORIGINALS["common"].items() if k not in copy.get("lacks", ())}
    return {**common, **copy["settings"]}


def plain(value: Any) -> Any:
    """YAML leaves tuples and 1e-5 as text; (224, 224) and [224, 224] say the same."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            return value
    return list(value) if isinstance(value, tuple) else value


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: plain(value)}
    return result


def missing(file: str) -> bool:
    return any(
        file == name or (name.endswith("/") and file.startswith(name)) for name in DIFFERENCES["missing"]
    )


def reasoned(file: str, repository: str) -> dict[str, Any]:
    """What a copy sets otherwise than ours, for a reason that is given."""
    said: dict[str, Any] = {}
    for entry in DIFFERENCES["copies"]:
        if entry["file"] == file and repository in entry["repositories"]:
            assert entry["reason"]
            said |= entry["settings"]
    return said


@pytest.mark.parametrize(("file", "repository", "copy"), COPIES, ids=[f"{r}:{f}" for f, r, _ in COPIES])
def test_a_file_says_what_the_originals_says(file: str, repository: str, copy: dict[str, Any]) -> None:
    path = Path(config_file(str(OURS / f"{file}.yaml")))
    if missing(file):
        assert not path.exists(), "differences.yaml calls it missing"
        return
    theirs = {key: plain(value) for key, value in settings_of(copy).items()}
    ours = flat(yaml.safe_load(path.read_text()))
    for key in DIFFERENCES["settings"]:
        theirs.pop(key, None)
        assert key not in ours
    for entry in DIFFERENCES["ours"]:
        if entry["file"] == file:
            assert ours[entry["setting"]] == entry["ours"] != theirs.get(entry["setting"])
            del ours[entry["setting"]]
            theirs.pop(entry["setting"], None)
    differing = {key: theirs.get(key) for key in theirs.keys() | ours if theirs.get(key) != ours.get(key)}
    assert differing == reasoned(file, repository)


def test_every_reason_is_of_a_difference_that_is_there() -> None:
    files = set(ORIGINALS["files"])
    for entry in DIFFERENCES["copies"] + DIFFERENCES["ours"]:
        assert entry["file"] in files and entry["reason"]
    for entry in DIFFERENCES["copies"]:
        held = {r for copy in ORIGINALS["files"][entry["file"]] for r in copy["repositories"]}
        assert set(entry["repositories"]) <= held
    for name, reason in DIFFERENCES["missing"].items():
        assert reason and any(file == name or file.startswith(name) for file in files), name


@pytest.mark.shared
def test_the_table_is_what_was_read_from_the_originals(shared: Path) -> None:
    read = json.loads((shared / "upstream/configs.json").read_text())
    files = {(r, f): v for r, by_file in read.items() for f, v in by_file.items() if " " not in f}
    assert files == {(r, f): settings_of(copy) for f, r, copy in COPIES}
