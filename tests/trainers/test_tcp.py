"""TCP: where its words and class prompts go, and settings that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from clip import CLIP, tokenize

Build = Callable[..., Any]
SMALL = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TRAINER.TCP.BLOCK", "1")


def test_words_stand_behind_the_context(build: Build, tiny_clip: CLIP) -> None:
    trainer = build("TCP", *SMALL, "TRAINER.TCP.TEMPLATE", "{}, seen from above")
    learner = trainer.model.prompt_learner
    embeddings, eot, _ = learner.text_prompts()
    tokens = tokenize([f"X X X X {name}, seen from above" for name in trainer.dm.dataset.classnames])
    expected = tiny_clip.token_embedding(tokens[:, : int(eot.max()) + 1])
    assert eot.tolist() == tokens.argmax(dim=1).tolist()
    assert torch.equal(embeddings[:, 5:], expected[:, 5:])
    assert torch.equal(embeddings[0, 1:5], learner.ctx)


def test_class_prompts_take_the_place_of_the_context_before_their_block(
    build: Build, tiny_clip: CLIP
) -> None:
    trainer = build("TCP", *SMALL)
    learner, model = trainer.model.prompt_learner, trainer.model
    embeddings, eot, _ = learner.text_prompts()
    first, second = tiny_clip.transformer.resblocks
    with torch.no_grad():
        x = first(embeddings + tiny_clip.positional_embedding[: embeddings.shape[1]], True)
        x[:, 1:5] = learner.meta_net(learner.fixed).reshape(3, 4, 64)
        x = tiny_clip.ln_final(second(x, True))[torch.arange(3), eot] @ tiny_clip.text_projection
        expected = x / x.norm(dim=1, keepdim=True)
        torch.testing.assert_close(model.text_features(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "TRAINER.TCP.BLOCK",
            "2",
            "BLOCK is 2, but this CLIP's text tower has 2 blocks, counted from 0: set",
        ),
        ("TRAINER.TCP.BLOCK", "-1", "TRAINER.TCP.BLOCK is -1; it must be a whole number from 0 on"),
        (
            "TRAINER.TCP.TEMPLATE",
            "a pet",
            r"TRAINER.TCP.TEMPLATE is 'a pet'; it must be text that holds \{\} once",
        ),
        ("TRAINER.COOP.CSC", "True", "TRAINER.COOP.CSC is True.*so set False and 'end'"),
        (
            "TRAINER.COOP.CLASS_TOKEN_POSITION",
            "front",
            "CLASS_TOKEN_POSITION 'front'.*so set False and 'end'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(build: Build, key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("TCP", *SMALL, key, value)
