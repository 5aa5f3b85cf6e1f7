"""What docs/compatibility.md says is there, and nothing that it says is missing."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from dassl.config import get_cfg_default
from dassl.config.node import flatten
from dassl.engine.idle import OPTIONAL
from trainers.aliases import SETTINGS, SWITCHES, TRAINERS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/compatibility.md").read_text()
COMMANDS, ENGINE = TEXT.split("## Their code, our engine")


def section(title: str) -> str:
    return TEXT.split(f"\n### {title}\n")[1].split("\n### ")[0]


def test_modules() -> None:
    there, missing = section("Modules").split("Not there:")
    names = re.findall(r"`(dassl\.[\w.]+)`", there)
    assert len(names) >= 10
    for name in names:
        importlib.import_module(name)
    trainer = importlib.import_module("dassl.engine.trainer")
    assert all(hasattr(trainer, name) for name in ("TrainerXU", "SimpleNet", "SummaryWriter"))
    for name in re.findall(r"`(dassl\.engine\.[\w.]+)`", missing):
        assert importlib.util.find_spec(name) is None


def test_links() -> None:
    links = re.findall(r"\]\((\.\./[^)#]+)\)", TEXT)
    assert len(links) >= 4 and all((ROOT / "docs" / link).exists() for link in links)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z]+\.[A-Z_.0-9]+)", ENGINE))))
def test_settings(name: str) -> None:
    settings = [key for key, _ in flatten(get_cfg_default())]
    assert any(f"{key}.".startswith(f"{name}.") for key in settings)


def test_settings_that_do_nothing_are_all_listed() -> None:
    listed = re.findall(r"`([A-Z_.0-9]+)`", section("Settings"))
    for name in OPTIONAL:
        known = name in ("DATASET.TEMPLATE", "DATALOADER.RETURN_IMG0")  # ours, and of the data loader
        assert known or any(f"{key}.".startswith(name) for key in listed), name


def test_every_name_that_is_translated_is_listed() -> None:
    listed = set(re.findall(r"`(?:--trainer )?([\w.]+)[^`]*`", COMMANDS))
    assert {*SETTINGS, *SWITCHES} <= listed and set(TRAINERS) <= listed
