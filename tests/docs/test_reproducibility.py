"""docs/reproducibility.md: what it says of each setting is what two trainings show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.dassl.tiny import tiny_trainer, write_images

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"\| `([A-Z_.]+)` \| `(\S+)` \| `(\S+)` \| (equal|other) \|")
ROWS = ROW.findall((ROOT / "docs/reproducibility.md").read_text())


def prompts(images: Path, output: Path, *option: str) -> torch.Tensor:
    tiny_trainer(output, images, "OPTIM.MAX_EPOCH", 3, *option).train()
    return torch.load(output / "prompt_learner/model.pth.tar-3")["state_dict"]["ctx"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def test_the_table_has_both_kinds() -> None:
    assert len(ROWS) >= 10 and {row[3] for row in ROWS} == {"equal", "other"}


@pytest.mark.parametrize(("setting", "one", "other", "said"), ROWS)
def test_what_the_table_says(
    setting: str, one: str, other: str, said: str, images: Path, tmp_path: Path
) -> None:
    first, second = (prompts(images, tmp_path / value, setting, value) for value in (one, other))
    assert torch.equal(first, second) == (said == "equal")
    assert torch.equal(first, prompts(images, tmp_path / "again", setting, one)), "the same command"
