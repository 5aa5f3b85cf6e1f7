"""Settings are checked before anything is built or read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import train
import trainers
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptTrainer

Build = Callable[..., Any]
METHODS = sorted(
    name
    for name in TRAINER_REGISTRY.registered_names()
    if issubclass(TRAINER_REGISTRY.get(name), PromptTrainer)
    and TRAINER_REGISTRY.get(name).__module__.startswith(trainers.__name__)
)
NOWHERE = ("TRAINER.DPC.BACKBONE_DIR", "/nowhere", "TRAINER.PROMPTKD.TEACHER_DIR", "/nowhere")


def settings(method: str, *options: str) -> Any:
    task = ("TRAINER.TASK", "B2N") if method.startswith("MMRL") else ()
    words = ["--root", "/nowhere", "--trainer", method, "DATASET.NAME", "EuroSAT", *NOWHERE, *task, *options]
    return train.setup_cfg(train.parse_arguments(words))


@pytest.mark.parametrize("method", METHODS)
def test_a_check_needs_no_trainer_and_leaves_nothing(method: str) -> None:
    trainer = object.__new__(TRAINER_REGISTRY.get(method))
    cfg = settings(method)
    before = cfg.dump()
    trainer.check_cfg(cfg)
    assert vars(trainer) == {} and cfg.dump() == before
    trainer.cfg = cfg
    if method.endswith("_DPC") or method.startswith("PromptKD"):
        with pytest.raises(FileNotFoundError, match="_DIR is '/nowhere'"):
            trainer.find_inputs()
    else:
        trainer.find_inputs()


def test_a_folder_that_is_not_there_is_named(build: Build) -> None:
    with pytest.raises(FileNotFoundError, match=r"TRAINER\.DPC\.BACKBONE_DIR is '/nowhere'"):
        build("CoOp_DPC", *NOWHERE)
    with pytest.raises(FileNotFoundError, match=r"TRAINER\.PROMPTKD\.TEACHER_DIR is '/nowhere'"):
        build("PromptKD", *NOWHERE)


@pytest.mark.parametrize("method", METHODS)
def test_several_views_of_an_image_are_refused(method: str) -> None:
    trainer = object.__new__(TRAINER_REGISTRY.get(method))
    with pytest.raises(ValueError, match=r"DATALOADER\.K_TRANSFORMS is 2, .* set it to 1"):
        trainer.check_cfg(settings(method, "DATALOADER.K_TRANSFORMS", "2"))


@pytest.mark.parametrize("method", [*METHODS, "ZeroshotCLIP"])
def test_images_without_a_transform_are_refused(method: str) -> None:
    trainer = object.__new__(TRAINER_REGISTRY.get(method))
    with pytest.raises(ValueError, match=rf"INPUT\.NO_TRANSFORM is True, but {method} needs"):
        trainer.check_cfg(settings(method, "INPUT.NO_TRANSFORM", "True"))


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (("TRAINER.COOP.CSC", "True", "TRAINER.COOP.CTX_INIT", "a photo of a"), True),
        (("TRAINER.COOP.CSC", "True"), False),
        (("TRAINER.COOP.CTX_INIT", "a photo of a"), False),
    ],
)
def test_words_share_a_context_and_coop_says_so(
    options: tuple[str, ...], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    object.__new__(TRAINER_REGISTRY.get("CoOp")).check_cfg(settings("CoOp", *options))
    assert ("TRAINER.COOP.CSC has no effect" in caplog.text) == warned
