"""The versions that requirements.txt admits, and those that are installed to try them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lines(name: str) -> list[str]:
    texts = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [text for text in texts if text]


def bounds(name: str) -> dict[str, str]:
    """The lower bound of each requirement, by name."""
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in lines(name)]
    return {match[1]: match[2] for match in found if match}


def pins(name: str) -> dict[str, str]:
    return dict(line.split("==") for line in lines(name))


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    assert all(">=" in line for line in lines("requirements.txt"))
    lower, oldest = (
        bounds("requirements.txt") | bounds("requirements-dev.txt"),
        pins("constraints-oldest.txt"),
    )
    assert oldest.keys() == lower.keys()
    for name, bound in lower.items():
        assert f"{oldest[name]}.".startswith(f"{bound}."), name


def test_the_pinned_versions_are_within_the_bounds() -> None:
    def numbers(version: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", version)]

    pinned = pins("constraints.txt")
    for name, bound in bounds("requirements.txt").items():
        assert numbers(pinned[name]) >= numbers(bound), name


def test_the_fonts_of_a_data_set_need_what_is_required() -> None:
    said = re.search(r'pip install "matplotlib>=([\d.]+)"', (ROOT / "datasets/letters.py").read_text())
    assert said is not None and said[1] == bounds("requirements.txt")["matplotlib"]
