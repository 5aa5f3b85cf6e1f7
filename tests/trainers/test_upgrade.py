"""Prompts on a CLIP that they were not tuned on: the rungs from the same model to an unrelated one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clip import CLIP, openai_state_dict, tokenize
from tests.conftest import TINY

Build = Callable[..., Any]
WORDS = "a photo of a"
OPTIONS = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.CTX_INIT", WORDS, "TEST.NO_TEST", "True")
METHODS = ("CoOp", "KgCoOp", "E2MIM", "ContCoOp")


def evaluated(build: Build, method: str, clip_file: Path, tuned: Path, output: Path, *options: str) -> Any:
    trainer = build(method, *OPTIONS, "MODEL.BACKBONE.PATH", str(clip_file), *options, output=output)
    trainer.load_model(str(tuned), 2)
    return trainer


def logits(trainer: Any) -> torch.Tensor:
    trainer.start_test("test")
    images = torch.stack([trainer.dm.load_item(item, 0, False) for item in trainer.dm.dataset.test])
    with torch.no_grad():
        return trainer.model_inference(images)


@pytest.fixture(params=METHODS)
def tuned(request: pytest.FixtureRequest, build: Build, tmp_path: Path) -> Any:
    trainer = build(request.param, *OPTIONS, output=tmp_path / "tuned")
    trainer.train()
    return trainer


def test_on_the_same_model_nothing_changes(
    tuned: Any, build: Build, tiny_clip_file: Path, tmp_path: Path
) -> None:
    same = tmp_path / "same.pt"
    shutil.copy(tiny_clip_file, same)
    method = type(tuned).__name__
    again = evaluated(build, method, same, tmp_path / "tuned", tmp_path / "again")
    assert torch.equal(logits(again), logits(tuned))


def test_on_an_unrelated_model_the_words_are_those_of_that_model(
    tuned: Any, build: Build, tmp_path: Path
) -> None:
    """Its logits are not those of the old one, and the class names in front of it are its own."""
    torch.manual_seed(5)
    other = tmp_path / "other.pt"
    torch.save(openai_state_dict(model := CLIP.create(TINY)), other)
    again = evaluated(build, type(tuned).__name__, other, tmp_path / "tuned", tmp_path / "again")
    assert (logits(again) - logits(tuned)).abs().max() > 1e-2
    learner = again.model.prompt_learner
    assert torch.equal(learner.ctx, tuned.model.prompt_learner.ctx)
    name = again.dm.dataset.classnames[0].replace("_", " ")
    tokens = tokenize([f"{WORDS} {name}."])[0]
    length = int(tokens.argmax()) + 1
    expected = model.token_embedding(tokens[5:length])
    assert torch.equal(learner.text_prompts().embeddings[0, 5:length], expected)


def test_the_control_keeps_the_distance_to_the_words(
    build: Build, tiny_clip_file: Path, tmp_path: Path
) -> None:
    trainer = build("CoOp", *OPTIONS, output=tmp_path / "tuned")
    trainer.train()
    old = trainer.model.clip
    state = {key: value.clone() for key, value in openai_state_dict(old).items()}
    state["token_embedding.weight"] += torch.randn_like(state["token_embedding.weight"])
    new = tmp_path / "new.pt"
    torch.save(state, new)
    again = evaluated(
        build, "CoOp", new, tmp_path / "tuned", tmp_path / "again",
        "TRAINER.COOP.UPGRADED_FROM", str(tiny_clip_file),
    )  # fmt: skip
    words = tokenize([WORDS])[0, 1:5]
    moved = again.model.prompt_learner.ctx - state["token_embedding.weight"][words]
    stayed = trainer.model.prompt_learner.ctx - old.token_embedding.weight[words]
    torch.testing.assert_close(moved, stayed, atol=1e-5, rtol=1e-4)
    assert stayed.abs().max() > 1e-3
    plain = evaluated(build, "CoOp", new, tmp_path / "tuned", tmp_path / "plain")
    assert torch.equal(plain.model.prompt_learner.ctx, trainer.model.prompt_learner.ctx)


def test_another_width_is_refused(build: Build, tmp_path: Path) -> None:
    build("CoOp", *OPTIONS, output=tmp_path / "tuned").train()
    wide = tmp_path / "wide.pt"
    torch.save(
        openai_state_dict(CLIP.create(TINY.__class__(**{**vars(TINY), "transformer_width": 128}))), wide
    )
    with pytest.raises(ValueError, match=r"ctx has shape \(4, 64\), expected \(4, 128\)"):
        evaluated(build, "CoOp", wide, tmp_path / "tuned", tmp_path / "again")


def test_nothing_is_trained_with_it(build: Build, tmp_path: Path) -> None:
    trainer = build("CoOp", *OPTIONS, "TRAINER.COOP.UPGRADED_FROM", "ViT-B/16", output=tmp_path / "run")
    with pytest.raises(ValueError, match="UPGRADED_FROM is for --eval-only"):
        trainer.train()
    assert not (tmp_path / "run").exists()


def test_the_control_finds_the_context_under_any_name(
    build: Build, tiny_clip_file: Path, tmp_path: Path
) -> None:
    build("CoOp_DePT", *OPTIONS, output=tmp_path / "tuned").train()
    options = ("TRAINER.COOP.UPGRADED_FROM", str(tiny_clip_file))
    again = evaluated(build, "CoOp_DePT", tiny_clip_file, tmp_path / "tuned", tmp_path / "again", *options)
    plain = evaluated(build, "CoOp_DePT", tiny_clip_file, tmp_path / "tuned", tmp_path / "plain")
    assert torch.equal(again.model.prompt_learner.ctx, plain.model.prompt_learner.ctx)


def test_the_control_from_another_width_is_refused(
    build: Build, tiny_clip_file: Path, tmp_path: Path
) -> None:
    build("CoOp", *OPTIONS, output=tmp_path / "tuned").train()
    wide = tmp_path / "wide.pt"
    torch.save({"token_embedding.weight": torch.zeros(49408, 96)}, wide)
    with pytest.raises(ValueError, match="has a text tower of width 96, this CLIP one of 64"):
        options = ("TRAINER.COOP.UPGRADED_FROM", str(wide))
        evaluated(build, "CoOp", tiny_clip_file, tmp_path / "tuned", tmp_path / "again", *options)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "CoOp",
            ("TRAINER.COOP.CTX_INIT", "", "TRAINER.COOP.N_CTX", "4"),
            "UPGRADED_FROM is set, but CTX_INIT is empty",
        ),
    ],
)
def test_settings_that_cannot_be(build: Build, method: str, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(method, *OPTIONS, *options, "TRAINER.COOP.UPGRADED_FROM", "ViT-B/16")


def test_the_control_is_not_for_two_contexts(build: Build, tiny_clip_file: Path, tmp_path: Path) -> None:
    build("CoOp", *OPTIONS, output=tmp_path / "tuned").train()
    dpc = ("TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "tuned"), "TRAINER.DPC.TOPK", "2")
    build("CoOp_DPC", *OPTIONS, *dpc, output=tmp_path / "dpc").train()
    with pytest.raises(ValueError, match="UPGRADED_FROM does not go with CoOp_DPC"):
        evaluated(
            build, "CoOp_DPC", tiny_clip_file, tmp_path / "dpc", tmp_path / "again", *dpc,
            "TRAINER.COOP.UPGRADED_FROM", str(tiny_clip_file),
        )  # fmt: skip
