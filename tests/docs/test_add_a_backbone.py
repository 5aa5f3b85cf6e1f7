"""The worked example of docs/add_a_backbone.md is the file that it speaks of, and small."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_the_example_is_kgcoop_as_it_stands_and_at_most_forty_lines() -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/add_a_backbone.md").read_text(), re.DOTALL)
    assert code == (ROOT / "trainers/kgcoop.py").read_text()
    assert len(code.splitlines()) <= 40


def test_it_is_listed_in_one_line_alone() -> None:
    package = ROOT / "trainers"
    names_of_others = package / "aliases.py"
    files = [path for path in package.rglob("*.py") if path != names_of_others]
    naming = [path for path in files if "kgcoop" in path.read_text().lower()]
    assert sorted(path.name for path in naming) == ["__init__.py", "kgcoop.py"]
    lines = (package / "__init__.py").read_text().lower().splitlines()
    assert sum("kgcoop" in line for line in lines) == 1
