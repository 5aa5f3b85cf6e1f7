"""ContCoOp's attention, its limits, and what a change of CLIP does to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from yacs.config import CfgNode as CN

from clip import CLIP, openai_state_dict, tokenize
from dassl.utils import set_random_seed
from tests.conftest import TINY
from trainers.contcoop import ContCoOpLearner, class_words

Build = Callable[..., Any]
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4")
NAMES = ["forest", "annual crop land", "sea or lake", "a_highway or road"]
COOP = CN({"CTX_INIT": "", "N_CTX": 4, "CSC": False, "CLASS_TOKEN_POSITION": "end"})


def tiny_clip(seed: int = 0) -> CLIP:
    torch.manual_seed(seed)
    return CLIP.create(TINY)


def learner_of(names: list[str], clip: CLIP | None = None, scale: float = 0.7) -> ContCoOpLearner:
    clip = clip or tiny_clip()
    torch.manual_seed(1)
    learner = ContCoOpLearner(clip, names, COOP, scale)
    with torch.no_grad():
        learner.ctx.normal_()
        learner.ln.weight.normal_()
        learner.ln.bias.normal_()
    return learner


def by_hand(learner: ContCoOpLearner, clip: CLIP, name: str) -> np.ndarray:
    """The formula of the note for one class, in float64 and loops."""
    ctx, q, k, v, o = (
        getattr(learner, part).weight.detach().double().numpy()
        if part != "ctx"
        else learner.ctx.detach().double().numpy()
        for part in ("ctx", "q", "k", "v", "o")
    )
    gain, shift = learner.ln.weight.detach().double().numpy(), learner.ln.bias.detach().double().numpy()
    tokens = [t for t in tokenize([name.replace("_", " ")])[0].tolist() if t][1:-1]
    words = clip.token_embedding.weight.detach().double().numpy()[tokens]
    both = np.concatenate([ctx, words])
    seen = [(x - x.mean()) / math.sqrt(x.var() + 1e-5) * gain + shift for x in both]
    result = []
    for i in range(len(ctx)):
        scores = np.array([(q @ seen[i]) @ (k @ x) for x in seen]) / math.sqrt(ctx.shape[1])
        powers = np.exp(scores - scores.max())
        mean = sum(p * (v @ x) for p, x in zip(powers / powers.sum(), seen, strict=True))
        result.append(ctx[i] + o @ mean)
    return np.array(result)


def test_the_context_is_that_of_the_formula() -> None:
    clip = tiny_clip()
    learner = learner_of(NAMES, clip)
    found = learner.double().context()
    for row, name in zip(found, NAMES, strict=True):
        np.testing.assert_allclose(row.detach().numpy(), by_hand(learner, clip, name), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_a_class_is_the_same_alone_and_beside_longer_names() -> None:
    clip = tiny_clip()
    alone, beside = (learner_of(names, clip) for names in ([NAMES[0]], NAMES))
    assert beside.unused[0].any() and not alone.unused.any()
    torch.testing.assert_close(alone.context()[0], beside.context()[0])
    some = torch.tensor([2, 0])
    torch.testing.assert_close(beside.context(some), beside.context()[some])
    prompts = beside.text_prompts(some)
    torch.testing.assert_close(prompts.embeddings[:, 1:5], beside.context(some))
    torch.testing.assert_close(beside.text_prompts().embeddings[:, 1:5], beside.context())


def test_the_order_of_words_does_not_matter() -> None:
    learner = learner_of(NAMES)
    before = learner.context()
    lengths = (~learner.unused).sum(dim=1).tolist()
    for row, length in enumerate(lengths):
        learner.words[row, :length] = learner.words[row, :length].flip(0).clone()
    assert max(lengths) > 2
    torch.testing.assert_close(learner.context(), before)
    learner.words[1, 0] += 1
    assert not torch.allclose(learner.context()[1], before[1])


def test_gradients_at_the_start() -> None:
    """Scale 0: o alone of the layer moves at first; a bias of the keys never would."""
    learner = learner_of(NAMES, scale=0.0)
    learner.context().square().sum().backward()
    assert all(
        part.grad is None or not part.grad.any()
        for n, part in learner.named_parameters()
        if n[:2] in ("q.", "k.", "v.", "ln")
    )
    assert learner.o.weight.grad.any() and learner.ctx.grad.any()
    torch.testing.assert_close(learner.context(), learner.ctx.expand(4, -1, -1))


def test_with_nothing_of_its_own_it_is_coop(build: Build, tmp_path: Path) -> None:
    coop = build("CoOp", *FP32, output=tmp_path / "coop")
    ours = build(
        "ContCoOp", *FP32, "TRAINER.CONTCOOP.INIT_SCALE", "0", "TRAINER.CONTCOOP.KD_WEIGHT", "0",
        output=tmp_path / "ours",
    )  # fmt: skip
    learner = ours.model.prompt_learner
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name == "ctx")  # the attention layer stays as it is
    ours.optim.param_groups[0]["params"] = [learner.ctx]
    with torch.no_grad():
        learner.ctx.copy_(coop.model.prompt_learner.ctx)
    for trainer in (coop, ours):
        set_random_seed(1)  # building one draws more numbers than building the other
        trainer.train()
    torch.testing.assert_close(learner.ctx, coop.model.prompt_learner.ctx)


@pytest.mark.parametrize("kind", ["kl", "cos"])
def test_the_distillation(build: Build, kind: str) -> None:
    trainer = build("ContCoOp", *FP32, "TRAINER.CONTCOOP.KD_TYPE", kind, "TRAINER.CONTCOOP.KD_WEIGHT", "2.5")
    trainer.prepare()
    trainer.before_epoch()
    view = trainer.view(next(iter(trainer.train_batches())))
    logits = trainer.class_logits(view.image_features, view.text_features)
    loss = trainer.own_losses(view, logits)["loss_kd"].item()
    image, text, fixed = (
        x.detach().double() for x in (view.image_features, view.text_features, trainer.zero_shot)
    )
    scale = trainer.model.clip.logit_scale.exp().item()
    if kind == "cos":
        expected = 8 * (1 - F.cosine_similarity(text, fixed).mean())
    else:
        teacher, student = (scale * image @ part.t() for part in (fixed, text))
        p, q = teacher.softmax(1), student.softmax(1)
        expected = (p * (p.log() - q.log())).sum(1).mean()
    assert loss == pytest.approx(2.5 * expected.item(), rel=1e-4)
    assert loss > 1e-3


def test_another_clip_makes_other_contexts_of_the_same_prompts(build: Build, tmp_path: Path) -> None:
    trainer = build("ContCoOp", *FP32, "TRAINER.CONTCOOP.INIT_SCALE", "0.5", output=tmp_path / "first")
    trainer.train()
    other = tmp_path / "other.pt"
    torch.save(openai_state_dict(tiny_clip(9)), other)
    path = ("MODEL.BACKBONE.PATH", str(other))
    again = build("ContCoOp", *FP32, *path, output=tmp_path / "second")
    again.load_model(str(tmp_path / "first"), 2)
    ours, theirs = trainer.model.prompt_learner, again.model.prompt_learner
    assert torch.equal(ours.ctx, theirs.ctx) and torch.equal(ours.o.weight, theirs.o.weight)
    assert "words" not in trainer.model_state_dict("prompt_learner")
    assert (ours.context() - theirs.context()).abs().max() > 1e-4


@pytest.mark.parametrize("reading", ["paper", "released"])
def test_dpc_mixes_contexts_where_it_is_asked_to(build: Build, tmp_path: Path, reading: str) -> None:
    scale = ("TRAINER.CONTCOOP.INIT_SCALE", "0.5")
    build("ContCoOp", *FP32, *scale, "TEST.NO_TEST", "True", output=tmp_path / "backbone").train()
    words = [*FP32, *scale, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "backbone")]
    words += [
        "TRAINER.DPC.VARIANT",
        reading,
        "TRAINER.DPC.WEIGHT_BASE",
        "0.3",
        "TRAINER.DPC.WEIGHT_NEW",
        "0.6",
    ]
    words += ["TRAINER.DPC.TOPK", "3", "TEST.NO_TEST", "True"]

    def made(mix: str) -> Any:
        return build("ContCoOp_DPC", *words, "TRAINER.DPC.MIX", mix, output=tmp_path / f"{mix}-run")

    def contexts(trainer: Any) -> dict[str, torch.Tensor]:
        learner, found = trainer.model.prompt_learner, {}
        for name in ("parallel", "tuned", "base", "new"):
            with trainer.dual_prompts.showing(name), torch.no_grad():
                found[name] = learner.text_prompts().embeddings[:, 1:5].clone()
        return found

    trainer = made("tensors")
    trainer.train()
    by_tensor = contexts(trainer)
    other = made("contexts")
    other.load_model(str(tmp_path / "tensors-run"), 2)
    by_context = contexts(other)
    for name in ("parallel", "tuned"):
        torch.testing.assert_close(by_context[name], by_tensor[name])
    p, t = by_context["parallel"], by_context["tuned"]
    torch.testing.assert_close(by_context["new"], 0.6 * p + 0.4 * t)
    torch.testing.assert_close(by_context["base"], p if reading == "released" else 0.3 * p + 0.7 * t)
    assert (by_tensor["new"] - by_context["new"]).abs().max() > 1e-7, "mixed tensors are not mixed contexts"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("TRAINER.CONTCOOP.KD_TYPE", "l2"), "KD_TYPE is 'l2'; it must be one of kl, cos"),
        (("TRAINER.CONTCOOP.KD_WEIGHT", "-1."), "KD_WEIGHT is -1.0; it must be a number, 0 or more"),
        (("TRAINER.COOP.CSC", "True"), "CSC is True, but the context of ContCoOp is one for all"),
    ],
)
def test_settings_that_cannot_be(build: Build, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("ContCoOp", *FP32, *options)


def test_words_are_those_of_the_class_names_alone() -> None:
    clip = tiny_clip()
    words, unused = class_words(clip, ["forest", "annual crop land"])
    assert (~unused).sum(dim=1).tolist() == [1, 3]
    expected = clip.token_embedding(tokenize(["annual crop land"])[0, 1:4])
    torch.testing.assert_close(words[1], expected)
