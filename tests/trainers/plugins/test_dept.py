"""DePT: the head, its classes, its learning rate, and where it does not go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import train
from dassl.engine import TRAINER_REGISTRY
from trainers.plugins import on_top
from trainers.plugins.dept import DePT
from trainers.plugins.dept.head import Head
from trainers.plugins.dpc import DPC

Build = Callable[..., Any]
COOP = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4")
FILES = {
    "CoOp": "PromptLearner",
    "MaPLe": "MultiModalPromptLearner",
    "PromptSRC": "VLPromptLearner",
}


@pytest.fixture
def trained(build: Build, tmp_path: Path) -> Any:
    """CoOp + DePT, trained on the base classes; its folder is ``run``."""
    trainer = build("CoOp_DePT", *COOP, "TEST.NO_TEST", "True", output=tmp_path / "run")
    trainer.train()
    return trainer


def logits(trainer: Any, images: Tensor) -> Tensor:
    trainer.start_test("test")
    with torch.no_grad():
        return trainer.model_inference(images)


def raw_features(trainer: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features of images and of classes as CLIP gives them, computed without the trainer's model."""
    clip_model, learner = trainer.model.clip, trainer.model.prompt_learner
    return clip_model.encode_image(images), clip_model.encode_embeddings(*learner.text_prompts())


def linear(head: Head, rows: Tensor, film: Any) -> Tensor:
    return (rows * film.scale + film.bias) @ head.linear_probe_proj.weight.t() + head.linear_probe_proj.bias


def moved(trainer: Any) -> Head:
    """The head of a trainer, away from where it starts."""
    head = trainer.head
    with torch.no_grad():
        for leaf in head.parameters():
            leaf += 0.3 * torch.randn_like(leaf)
    return head


def test_the_loss_is_that_of_the_formula(build: Build) -> None:
    trainer = build("CoOp_DePT", *COOP)
    head = moved(trainer)
    batch = {"img": torch.randn(5, 3, 32, 32), "label": torch.tensor([2, 0, 1, 1, 2])}
    with torch.no_grad():
        losses, seen, _ = trainer.compute_loss(batch)
        image, text = raw_features(trainer, batch["img"])
        scale = trainer.model.clip.logit_scale.exp()
        similar = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).t()
        torch.testing.assert_close(seen, similar, atol=1e-4, rtol=1e-4)
        of_images = linear(head, image, head.film_lp_img)
        of_texts = linear(head, text, head.film_lp_text)[batch["label"]]
        each = [F.cross_entropy(part, batch["label"]) for part in (of_images, of_texts)]
        assert losses["loss_ce"].item() == pytest.approx(
            0.3 * F.cross_entropy(similar, batch["label"]).item(), rel=1e-4
        )
        assert losses["loss_linear"].item() == pytest.approx(0.7 * float(sum(each)) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "share"),
    [((), 0.7), (("TRAINER.DEPT.WEIGHT", "0.2"), 0.2), (("TRAINER.DEPT.FUSION", "False"), 1.0)],
)
def test_base_classes_see_the_mix(
    build: Build, trained: Any, tmp_path: Path, options: tuple[str, ...], share: float
) -> None:
    trainer = build("CoOp_DePT", *COOP, *options)
    trainer.load_model(str(tmp_path / "run"), epoch=-1)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        image, text = raw_features(trainer, images)
        similar = trainer.model.logits(F.normalize(image, dim=1), F.normalize(text, dim=1))
        expected = (1 - share) * similar + share * linear(trainer.head, image, trainer.head.film_lp_img)
    torch.testing.assert_close(logits(trainer, images), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, similar, atol=0.1)


@pytest.mark.parametrize("classes", ["new", "all"])
def test_other_classes_see_the_similarities_alone(
    build: Build, trained: Any, tmp_path: Path, classes: str
) -> None:
    trainer = build("CoOp_DePT", *COOP, "DATASET.SUBSAMPLE_CLASSES", classes)
    trainer.load_model(str(tmp_path / "run"), epoch=-1)
    images = torch.randn(4, 3, 32, 32)
    assert not trainer.head_fits
    torch.testing.assert_close(logits(trainer, images), trainer.model(images), atol=1e-5, rtol=0)


def test_a_head_that_was_never_tuned_is_not_used(build: Build) -> None:
    trainer = build("CoOp_DePT", *COOP)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(logits(trainer, images), trainer.model(images), atol=1e-5, rtol=0)


def test_some_of_the_head_s_classes_take_their_rows(build: Build, tmp_path: Path) -> None:
    words = (*COOP, "TEST.NO_TEST", "True", "DATASET.SUBSAMPLE_CLASSES")
    everything = build("CoOp_DePT", *words, "all", output=tmp_path / "run")
    everything.train()
    images = torch.randn(4, 3, 32, 32)
    whole = logits(everything, images)
    for classes in ("base", "new"):
        trainer = build("CoOp_DePT", *words, classes)
        trainer.load_model(str(tmp_path / "run"), epoch=-1)
        rows = [everything.scope.names.index(name) for name in trainer.scope.names]
        assert trainer.head_fits
        torch.testing.assert_close(logits(trainer, images), whole[:, rows], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("learner", FILES)
def test_checkpoints_have_the_original_s_names(build: Build, tmp_path: Path, learner: str) -> None:
    trainer = build(f"{learner}_DePT")
    trainer.save_model(0, str(tmp_path / "saved"))
    state = torch.load(tmp_path / "saved" / FILES[learner] / "model.pth.tar-1")["state_dict"]
    films = {f"film_lp_{tower}.{part}" for tower in ("img", "text") for part in ("scale", "bias")}
    head = films | {"linear_probe_proj.weight", "linear_probe_proj.bias"}
    assert head < state.keys() and "prompt_learner.ctx" in state
    below = build(learner).model_state_dict("")
    assert {key.removeprefix("prompt_learner.") for key in state.keys() - head} == {
        key.removeprefix("prompt_learner.") for key in below
    }


def test_the_head_learns_faster(build: Build) -> None:
    trainer = build("CoOp_DePT", *COOP, "OPTIM.WARMUP_EPOCH", "-1", "TRAINER.DEPT.LR_FACTOR", "4")
    prompts, head = trainer.optim.param_groups
    assert (prompts["lr"], head["lr"]) == (0.01, 0.04) and trainer.get_current_lr() == 0.01
    assert [id(leaf) for leaf in head["params"]] == [id(leaf) for leaf in trainer.head.parameters()]
    assert [id(leaf) for leaf in prompts["params"]] == [id(trainer.model.prompt_learner.ctx)]


def test_a_run_goes_on_as_if_never_stopped(build: Build, tmp_path: Path) -> None:
    words = (*COOP, "TEST.NO_TEST", "True")
    whole = build("CoOp_DePT", *words, output=tmp_path / "whole")
    whole.train()
    stopped = build("CoOp_DePT", *words, output=tmp_path / "stopped")
    stopped.before_train()
    stopped.epoch = 0
    stopped.before_epoch()
    stopped.run_epoch()
    stopped.after_epoch()
    stopped.save_resume_point()
    resumed = build("CoOp_DePT", *words, output=tmp_path / "stopped")
    resumed.train()
    assert resumed.start_epoch == 1
    for key, leaf in whole.model.prompt_learner.tuned_tensors().items():
        assert torch.equal(resumed.model.prompt_learner.tuned_tensors()[key], leaf), key


def test_kept_features_are_not_those_of_other_trainers(build: Build, trained: Any, tmp_path: Path) -> None:
    """CoOp keeps the same images' features normalised."""
    found = {}
    for name in ("CoOp", "CoOp_DePT", "CoOp"):
        trainer = build(name, *COOP, "TEST.SAVE_LOGITS", "True", output=tmp_path / name)
        if name != "CoOp":
            trainer.load_model(str(tmp_path / "run"), epoch=-1)
        trainer.test()
        expected = torch.cat([logits(trainer, batch["img"]) for batch in trainer.test_loader])
        found[name] = np.load(tmp_path / name / "logits.npz")["logits"]
        np.testing.assert_allclose(found[name], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("WEIGHT", "1.2", r"TRAINER\.DEPT\.WEIGHT is 1\.2; it must be a number in \[0, 1\]"),
        ("WEIGHT", "-0.1", r"TRAINER\.DEPT\.WEIGHT is -0\.1; it must be a number in \[0, 1\]"),
        ("LR_FACTOR", "0.0", r"TRAINER\.DEPT\.LR_FACTOR is 0\.0; it must be a number above 0"),
    ],
)
def test_a_wrong_value_is_refused(build: Build, option: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("CoOp_DePT", *COOP, f"TRAINER.DEPT.{option}", value)


def test_what_divides_the_loss_otherwise_is_refused() -> None:
    coop_dept = TRAINER_REGISTRY.get("CoOp_DePT")
    assert on_top(DePT, TRAINER_REGISTRY.get("CoOp")) is coop_dept
    with pytest.raises(ValueError, match=r"CoOp_DePT_DPC: DePT .* what is in front of it has its own"):
        on_top(DPC, coop_dept)
    for name in ("CoOp_DPC_DePT", "CoCoOp_DePT", "PromptKD_DePT"):
        with pytest.raises(ValueError, match=f"{name}: DePT .* {name.removesuffix('_DePT')} has its own"):
            TRAINER_REGISTRY.get(name)
    with pytest.raises(ValueError, match="DePT goes on a trainer that tunes prompts, not on ZeroshotCLIP"):
        TRAINER_REGISTRY.get("ZeroshotCLIP_DePT")
    assert train.stacked_name("CoCoOp", "dept") == "CoCoOp_DePT"
    assert train.stacked_name("CoOp", "dept") == train.stacked_name("coop", "DePT") == "CoOp_DePT"
    assert not any("DePT_" in name for name in TRAINER_REGISTRY.registered_names())
