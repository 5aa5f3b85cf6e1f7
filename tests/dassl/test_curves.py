"""Where the curves of a run go; the packages themselves are stood in for."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dassl.engine import build_trainer
from tests.dassl.tiny import tiny_cfg, write_images


class StandIn(ModuleType):
    """What wandb and trackio have in common."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.begun: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.ended = 0

    def init(self, **options: Any) -> None:
        self.begun.append(options)

    def log(self, values: dict[str, Any]) -> None:
        assert len(self.begun) > self.ended
        self.logged.append(values)

    def finish(self) -> None:
        self.ended += 1


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images")
    return tmp_path / "images"


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_is_told_to_the_package(
    name: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = StandIn(name)
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")
    output = tmp_path / "output" / "seed1"
    cfg = tiny_cfg(output, images, "TRAIN.LOGGER", name, "OPTIM.MAX_EPOCH", 2)
    build_trainer(cfg).train()

    (begun,) = package.begun
    assert package.ended == 1
    assert begun["project"] == "dpc" and begun["name"].endswith("output-seed1")
    assert begun["config"]["OPTIM.MAX_EPOCH"] == 2
    assert begun.get("mode") == ("offline" if name == "wandb" else None)
    losses = [values for values in package.logged if "train/loss" in values]
    assert [values["train/step"] for values in losses] == list(range(len(losses))) and len(losses) > 2
    rates = [values["train/lr"] for values in package.logged if "train/lr" in values]
    assert (rates[0], rates[-1]) == (1e-5, 0.1), "the warm-up, then the rate itself"


def test_an_online_run_is_the_user_s_choice(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = StandIn("wandb")
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.setenv("WANDB_MODE", "online")
    build_trainer(tiny_cfg(tmp_path / "output", images, "TRAIN.LOGGER", "wandb")).train()
    assert package.begun[0]["mode"] == "online"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("TRAIN.LOGGER", "wanbd"), "TRAIN.LOGGER is 'wanbd'; it must be one of none, tensor"),
        (("TRAIN.LOGGER", "trackio"), "TRAIN.LOGGER is 'trackio', but .* pip install trackio"),
        (("TRAIN.LOGGER", "wandb", "TRAIN.TENSORBOARD", True), "the curves go to one of them"),
        (("TRAIN.TENSORBOARD", True), "TRAIN.TENSORBOARD is True, but .* pip install tensorboard"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_built(
    options: tuple[object, ...], message: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=message):
        build_trainer(tiny_cfg(tmp_path / "output", images, *options))
    assert not (tmp_path / "output").exists()
