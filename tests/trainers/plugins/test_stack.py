"""A plug-in in front of a method, and one in front of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clip import CLIP
from dassl.engine import TRAINER_REGISTRY
from trainers.core import PromptLearner, PromptTrainer
from trainers.core.scope import TunedOn
from trainers.plugins import on_top
from trainers.plugins.dpc import DPC
from trainers.plugins.stack import below

FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TEST.NO_TEST", "True")


class Bias(PromptTrainer):
    """Adds a learned number to the logits of each class that it was tuned on, there alone."""

    tuned_on: TunedOn | None

    def build_learner(self, clip_model: CLIP, classnames: Sequence[str]) -> PromptLearner:
        learner = super().build_learner(clip_model, classnames)
        learner.bias = nn.Parameter(torch.zeros(len(classnames)))
        return learner

    def class_logits(
        self, image_features: Tensor, text_features: Tensor | None, classes: Tensor | None = None
    ) -> Tensor:
        logits = super().class_logits(image_features, text_features, classes)
        if not self.scope.is_within(self.tuned_on):
            return logits
        bias = self.model.prompt_learner.bias
        return logits + (bias if classes is None else bias[classes])


@pytest.fixture
def biased(monkeypatch: pytest.MonkeyPatch) -> type[PromptTrainer]:
    """CoOp_DPC_Bias, registered for the length of a test."""
    monkeypatch.setattr(TRAINER_REGISTRY, "_objects", dict(TRAINER_REGISTRY._objects))
    return on_top(Bias, TRAINER_REGISTRY.get("CoOp_DPC"))


def test_a_stack_is_both_and_made_once(biased: type[PromptTrainer]) -> None:
    coop, coop_dpc = TRAINER_REGISTRY.get("CoOp"), TRAINER_REGISTRY.get("CoOp_DPC")
    assert issubclass(coop_dpc, coop) and issubclass(coop_dpc, DPC)
    assert coop_dpc.__mro__.index(DPC) < coop_dpc.__mro__.index(coop)
    assert coop_dpc.__name__ == "CoOp_DPC" and coop_dpc.__module__ == coop.__module__
    assert on_top(DPC, coop) is coop_dpc is TRAINER_REGISTRY.get("CoOp_DPC")
    assert issubclass(biased, coop_dpc) and biased.__name__ == "CoOp_DPC_Bias"
    assert on_top(Bias, coop_dpc) is biased
    assert not hasattr(coop, "dual_prompts") and "CoOp_Bias" not in TRAINER_REGISTRY


def test_what_stands_below(biased: type[PromptTrainer]) -> None:
    def stands_below(trainer: type[PromptTrainer], plugin: type[PromptTrainer]) -> str:
        return below(object.__new__(trainer), plugin).__name__

    assert stands_below(TRAINER_REGISTRY.get("CoOp_DPC"), DPC) == "CoOp"
    assert stands_below(TRAINER_REGISTRY.get("KgCoOp_DPC"), DPC) == "KgCoOp"
    assert stands_below(TRAINER_REGISTRY.get("PromptKD_DPC"), DPC) == "PromptKD"
    assert stands_below(biased, DPC) == "CoOp"
    assert stands_below(biased, Bias) == "CoOp_DPC"
    under = on_top(DPC, on_top(Bias, TRAINER_REGISTRY.get("CoOp")))
    assert under.__name__ == "CoOp_Bias_DPC" and stands_below(under, DPC) == "CoOp_Bias"


def test_a_plug_in_on_dpc_trains_and_evaluates_without_touching_it(
    build: Callable[..., Any], tmp_path: Path, biased: type[PromptTrainer]
) -> None:
    build("CoOp", *FP32, output=tmp_path / "coop").train()
    options = (*FP32, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop"), "DATASET.SUBSAMPLE_CLASSES")
    trainer = build("CoOp_DPC_Bias", *options, "base", output=tmp_path / "biased")
    assert trainer.model.prompt_learner.tuned_tensors().keys() == {"ctx", "bias"}
    trainer.train()
    bias = trainer.model.prompt_learner.bias.detach()
    assert bias.abs().max() > 1e-4
    stored = torch.load(tmp_path / "biased/prompt_learner/model.pth.tar-2")
    assert stored["trainer"] == "CoOp_DPC_Bias" and torch.equal(stored["state_dict"]["bias"], bias)
    tuned = torch.load(tmp_path / "coop/prompt_learner/model.pth.tar-2")["state_dict"]["ctx"]
    assert not torch.equal(stored["state_dict"]["ctx"], tuned)  # P' is tuned as well

    features = nn.functional.normalize(torch.randn(5, 32), dim=1)
    for classes, shift in (("base", bias), ("new", torch.zeros(3))):
        evaluated = build("CoOp_DPC_Bias", *options, classes)
        evaluated.load_model(str(tmp_path / "biased"), epoch=-1)
        evaluated.start_test("test")
        with torch.no_grad():
            plain = evaluated.model.logits(features, evaluated._text_features)
            torch.testing.assert_close(evaluated.test_logits(features), plain + shift)
        evaluated.test()


def test_dpc_ranks_by_the_tuned_prompt_alone(
    build: Callable[..., Any], tmp_path: Path, biased: type[PromptTrainer]
) -> None:
    build("CoOp", *FP32, output=tmp_path / "coop").train()
    options = (*FP32, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop"))
    images = torch.randn(4, 3, 32, 32)
    scores = []
    for name in ("CoOp_DPC", "CoOp_DPC_Bias"):
        trainer = build(name, *options)
        trainer.prepare()
        if name.endswith("Bias"):
            with torch.no_grad():
                trainer.model.prompt_learner.bias.copy_(torch.tensor([0.0, 50.0, 100.0]))
        trainer.set_model_mode("train")
        scores.append(trainer.rank(images).scores)
        assert trainer.model.prompt_learner.training
        assert {part.shown for part, _ in trainer.dual_prompts._parts.values()} == {"parallel"}
    assert torch.equal(*scores)
    tuned = torch.load(tmp_path / "coop/prompt_learner/model.pth.tar-2")["state_dict"]["ctx"]
    plain = build("CoOp", *FP32)
    with torch.no_grad():
        plain.model.prompt_learner.ctx.copy_(tuned)
        torch.testing.assert_close(scores[0], plain.model(images), atol=1e-5, rtol=1e-5)
