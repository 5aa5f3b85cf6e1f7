"""MMRL and MMRL++: which features a test takes, what DPC's weights mix, and settings that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import train

Build = Callable[..., Any]
LAYERS = ("TRAINER.{0}.PREC", "fp32", "TRAINER.{0}.REP_LAYERS", "[1, 2]", "TRAINER.{0}.REP_DIM", "16")
SMALL = {name: tuple(word.format(name) for word in LAYERS) for name in ("MMRL", "MMRLpp")}
every_method = pytest.mark.parametrize("name", SMALL)


def parts_of(trainer: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits of a test on the first batch, and those of either feature and of both."""
    images, _ = trainer.parse_batch_test(next(iter(trainer.test_loader)))
    trainer.start_test("test")
    with torch.no_grad():
        features, text = trainer.model.image_features(images), trainer.model.text_features()
        of_class, of_rep = (trainer.model.logits(part, text) for part in features.chunk(2, dim=1))
        both = 0.7 * of_class + 0.3 * of_rep
        return trainer.test_logits(features), {"class": of_class, "rep": of_rep, "both": both}


@every_method
@pytest.mark.parametrize(
    ("task", "classes", "taken"),
    [
        ("B2N", "base", "both"),
        ("B2N", "new", "class"),
        ("B2N", "all", "class"),
        ("FS", "all", "both"),
        ("CD", "all", "class"),
    ],
)
def test_the_task_says_which_features_a_test_takes(
    build: Build, name: str, task: str, classes: str, taken: str
) -> None:
    trainer = build(name, *SMALL[name], "TASK", task, "DATASET.SUBSAMPLE_CLASSES", classes)
    logits, parts = parts_of(trainer)
    torch.testing.assert_close(logits, parts[taken], atol=1e-4, rtol=0)
    for other in parts.keys() - {taken}:
        assert not torch.allclose(logits, parts[other], atol=1e-2)


def test_across_data_sets_both_features_are_of_the_classes_that_were_tuned_on(
    build: Build, tmp_path: Path
) -> None:
    options = (*SMALL["MMRL"], "TASK", "CD", "TEST.NO_TEST", "True", "DATASET.SUBSAMPLE_CLASSES")
    build("MMRL", *options, "base", output=tmp_path / "tuned").train()
    for classes, taken in (("base", "both"), ("all", "class")):
        trainer = build("MMRL", *options, classes)
        trainer.load_model(str(tmp_path / "tuned"), 2)
        logits, parts = parts_of(trainer)
        torch.testing.assert_close(logits, parts[taken], atol=1e-4, rtol=0)


def test_dpc_mixes_tensors_and_leaves_the_choice_of_features_to_the_task(
    build: Build, tmp_path: Path
) -> None:
    options = (*SMALL["MMRL"], "TASK", "B2N", "TEST.NO_TEST", "True")
    build("MMRL", *options, output=tmp_path / "tuned").train()
    options += ("TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "tuned"), "TRAINER.DPC.WEIGHT_NEW", "0.0")
    build("MMRL_DPC", *options, output=tmp_path / "dpc").train()

    def evaluated(trainer: str, folder: str, classes: str) -> tuple[Any, torch.Tensor, Any]:
        own = options if trainer.endswith("_DPC") else options[:-4]
        made = build(trainer, *own, "DATASET.SUBSAMPLE_CLASSES", classes)
        made.load_model(str(tmp_path / folder), 2)
        return made, *parts_of(made)

    for classes, taken in (("base", "both"), ("new", "class")):
        _, backbone, _ = evaluated("MMRL", "tuned", classes)
        _, logits, parts = evaluated("MMRL_DPC", "dpc", classes)
        torch.testing.assert_close(logits, parts[taken], atol=1e-4, rtol=0)
        # w_n = 0 leaves new classes the backbone's tensors; base classes have those that DPC tuned
        assert torch.allclose(logits, backbone, atol=1e-4) == (classes == "new")


@every_method
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("TASK", "XD", "TASK is 'XD'; it must be one of B2N, FS, CD"),
        ("TASK", "", "TASK is ''; set B2N"),
        ("TRAINER.{0}.REP_LAYERS", "[1, 3]", r"TRAINER.{0}.REP_LAYERS is \[1, 3\]; give layers from 1 to 2"),
        ("TRAINER.{0}.REP_LAYERS", "[2, 1]", r"REP_LAYERS is \[2, 1\]; give layers from 1 on, ascending"),
        ("TRAINER.{0}.REP_LAYERS", "[]", r"REP_LAYERS is \[\]"),
        ("TRAINER.{0}.ALPHA", "1.5", r"TRAINER.{0}.ALPHA is 1.5; it must be a number in \[0, 1\]"),
        ("TRAINER.{0}.N_REP_TOKENS", "0", "N_REP_TOKENS is 0; it must be a whole number from 1"),
        ("TRAINER.MMRLpp.BETA", "-0.1", r"TRAINER.MMRLpp.BETA is -0.1; it must be a number in \[0, 1\]"),
        (
            "TRAINER.MMRLpp.RES_LORA_DIM",
            "0",
            "TRAINER.MMRLpp.RES_LORA_DIM is 0; it must be a whole number from 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(build: Build, name: str, key: str, value: str, message: str) -> None:
    if name == "MMRL" and "MMRLpp" in key:
        pytest.skip("MMRL++ alone has it")
    with pytest.raises(ValueError, match=message.replace("{0}", name)):
        build(name, *SMALL[name], "TASK", "B2N", key.format(name), value)


def test_the_originals_key_of_the_task_is_understood() -> None:
    words = ["--trainer", "MMRL", "TASK", "FS"]
    assert train.setup_cfg(train.parse_arguments(words)).TRAINER.TASK == "FS"
