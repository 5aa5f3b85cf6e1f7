from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainers.core import trainer as core_trainer
from trainers.promptsrc import gaussian_weights


def test_weights_are_a_gaussian_of_sum_one() -> None:
    weights = np.array(gaussian_weights(20, 15, 1))
    assert weights.sum() == pytest.approx(1) and weights.argmax() == 14
    assert weights[13] / weights[14] == pytest.approx(np.exp(-0.5))


def test_a_mean_out_of_reach_is_named() -> None:
    with pytest.raises(ValueError, match="GPA_MEAN is 90"):
        gaussian_weights(5, 90, 1)


Build = Callable[..., Any]
OPTIONS = ("TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.PROMPTSRC.GPA_MEAN", "2", "TEST.NO_TEST", "True")
FOUR = (*OPTIONS, "OPTIM.MAX_EPOCH", "4", "TRAIN.CHECKPOINT_FREQ", "1")


class Interrupted(Exception):
    pass


@pytest.fixture
def interrupted(build: Build, tmp_path: Path) -> dict[str, torch.Tensor]:
    """The mean behind 2 of 4 epochs of a run in ``run`` whose resume file is lost."""
    trainer = build("PromptSRC", *FOUR, output=tmp_path / "run")
    epoch = trainer.run_epoch

    def run_epoch() -> None:
        if trainer.epoch == 2:
            raise Interrupted
        epoch()

    trainer.run_epoch = run_epoch
    with pytest.raises(Interrupted):
        trainer.train()
    (tmp_path / "run/resume.pth.tar").unlink()
    return trainer.mean_prompts


def test_the_mean_survives_going_on_from_checkpoints(
    build: Build, tmp_path: Path, interrupted: dict[str, torch.Tensor]
) -> None:
    trainer = build("PromptSRC", *FOUR, output=tmp_path / "run", seed=1)
    step, seen = trainer.run_epoch, []

    def run_epoch() -> None:
        step()
        leaves = trainer.model.prompt_learner.tuned_tensors()
        seen.append((trainer.epoch, {key: leaf.detach().clone() for key, leaf in leaves.items()}))

    trainer.run_epoch = run_epoch
    trainer.before_train()
    assert trainer.start_epoch == 2
    assert trainer.mean_prompts.keys() == interrupted.keys()
    assert all(torch.equal(trainer.mean_prompts[key], interrupted[key]) for key in interrupted)

    trainer.train()
    assert [epoch for epoch, _ in seen] == [2, 3]
    shares = gaussian_weights(4, 2, 1)
    last = torch.load(tmp_path / "run/VLPromptLearner/model.pth.tar-4")
    whole = build("PromptSRC", *FOUR, output=tmp_path / "whole")
    whole.train()
    for key, leaf in trainer.model.prompt_learner.tuned_tensors().items():
        expected = interrupted[key] + sum(shares[epoch] * prompts[key] for epoch, prompts in seen)
        torch.testing.assert_close(leaf.detach(), expected, atol=1e-6, rtol=1e-5)
        assert torch.equal(last["state_dict"][key], leaf)
        uninterrupted = whole.model.prompt_learner.tuned_tensors()[key]
        assert leaf.norm().item() == pytest.approx(uninterrupted.norm().item(), rel=0.2)
    assert "mean_prompts" not in last  # it has taken its place


def test_a_checkpoint_without_the_mean_is_no_start(
    build: Build, tmp_path: Path, interrupted: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "run/VLPromptLearner/model.pth.tar-2"
    checkpoint = torch.load(path)
    del checkpoint["mean_prompts"]
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="tar-2' lacks the mean of the prompts over its 2 epochs"):
        build("PromptSRC", *FOUR, output=tmp_path / "run").train()


@pytest.mark.parametrize("method", ["PromptSRC", "KgCoOp"])
def test_templates_are_encoded_once_for_training_and_never_for_an_evaluation(
    build: Build, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    encode = core_trainer.ensemble_features
    monkeypatch.setattr(
        core_trainer, "ensemble_features", lambda *words: [calls.append(words), encode(*words)][1]
    )
    options = ("TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4")
    build(method, *options, output=tmp_path / "run").train()
    assert len(calls) == 1
    evaluated = build(method, *options)
    evaluated.load_model(str(tmp_path / "run"), epoch=-1)
    evaluated.test()
    assert len(calls) == 1
