"""E2MIM's formulas and limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainers.e2mim import mixed_cross_entropy, mutual_information_loss, partners

Build = Callable[..., Any]
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4")


def unit_rows(count: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=generator, dtype=torch.float64), dim=1)


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def test_the_loss_and_its_gradient_are_those_of_the_formula() -> None:
    soft, hand, tau = unit_rows(5, 7, 0).requires_grad_(), unit_rows(5, 7, 1), 0.3
    loss = mutual_information_loss(soft, hand, tau)
    loss.backward()
    scores = soft.detach().numpy() @ hand.numpy().T / tau
    rows, columns = softmax(scores, 1), softmax(scores, 0)
    expected = -(np.log(np.diag(rows)).mean() + np.log(np.diag(columns)).mean()) / 2
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    gradient = ((rows - np.eye(5)) + (columns - np.eye(5))) @ hand.numpy() / (2 * 5 * tau)
    np.testing.assert_allclose(soft.grad.numpy(), gradient, rtol=1e-10, atol=1e-14)


def test_the_limits_of_the_mutual_information_loss() -> None:
    soft, hand = unit_rows(6, 7, 0), unit_rows(6, 7, 1)
    loss = mutual_information_loss(soft, hand, 0.2)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(mutual_information_loss(soft[order], hand[order], 0.2), loss)
    assert not torch.isclose(mutual_information_loss(soft[order], hand, 0.2), loss)
    torch.testing.assert_close(mutual_information_loss(soft, hand, 0.2, torch.eye(7).double()), loss)
    assert mutual_information_loss(soft[:1], hand[:1], 0.2) == 0
    # the bilinear critic is between soft and hand-crafted features, in this order
    critic = torch.zeros(7, 7, dtype=torch.float64)
    critic[0, 1] = 5.0
    scores = 5 * soft[:, :1] @ hand[:, 1:2].t() / 0.2
    labels = torch.arange(6)
    expected = (F.cross_entropy(scores, labels) + F.cross_entropy(scores.t(), labels)) / 2
    torch.testing.assert_close(mutual_information_loss(soft, hand, 0.2, critic), expected)


@pytest.mark.parametrize("within", [False, True])
def test_partners_are_of_the_asked_for_class(within: bool) -> None:
    labels = torch.tensor([0, 0, 1, 2, 0, 1])
    torch.manual_seed(0)
    seen: list[set[int]] = [set() for _ in labels]
    for _ in range(200):
        for i, other in enumerate(partners(labels, within).tolist()):
            seen[i].add(other)
    for i, label in enumerate(labels.tolist()):
        same = {j for j, other in enumerate(labels.tolist()) if other == label}
        expected = same - {i} if within else set(range(6)) - same
        assert seen[i] == (expected or {i})
    assert partners(torch.tensor([4, 4]), within=False).tolist() == [0, 1]  # nobody else: itself


def test_mixing_is_linear_in_the_labels() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, two = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 2, 1])
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(mixed_cross_entropy(logits, one, two, ones), F.cross_entropy(logits, one))
    torch.testing.assert_close(mixed_cross_entropy(logits, one, two, 0 * ones), F.cross_entropy(logits, two))
    share = torch.tensor([0.2, 0.5, 0.9, 0.0], dtype=torch.float64)
    log = torch.log_softmax(logits, 1)
    rows = torch.arange(4)
    expected = -(share * log[rows, one] + (1 - share) * log[rows, two]).mean()
    torch.testing.assert_close(mixed_cross_entropy(logits, one, two, share), expected)


def test_without_its_losses_it_is_coop_bit_for_bit(build: Build, tmp_path: Any) -> None:
    off = ("TRAINER.E2MIM.MI_WEIGHT", "0.0", "TRAINER.E2MIM.MIX_WEIGHT", "0.0", "TEST.NO_TEST", "True")
    trained = []
    for name in ("CoOp", "E2MIM"):
        trainer = build(name, *FP32, *(off if name == "E2MIM" else off[-2:]), output=tmp_path / name)
        trainer.train()
        trained.append((trainer.model.prompt_learner.ctx.detach().clone(), torch.get_rng_state()))
    assert torch.equal(trained[0][0], trained[1][0]) and torch.equal(trained[0][1], trained[1][1])


def test_mixed_images_are_told_by_both_classes(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build("E2MIM", *FP32, "TRAINER.E2MIM.MI_WEIGHT", "0.0", "TRAINER.E2MIM.MIX_WEIGHT", "1.0")
    trainer.prepare()
    trainer.set_model_mode("train")
    view = trainer.view(next(iter(trainer.train_loader_x)))
    logits = trainer.class_logits(view.image_features, view.text_features)
    whole = torch.distributions.Beta
    monkeypatch.setattr(torch.distributions, "Beta", lambda a, b: _Share(1.0))
    loss = trainer.own_losses(view, logits)["loss_mix"]
    torch.testing.assert_close(loss, F.cross_entropy(logits, view.columns))  # lambda = 1: no mix
    monkeypatch.setattr(torch.distributions, "Beta", lambda a, b: _Share(0.3))
    torch.manual_seed(5)
    other = partners(view.labels, within=False)
    torch.manual_seed(5)
    mixed = F.normalize(0.3 * view.image_features + 0.7 * view.image_features[other], dim=1)
    both = trainer.class_logits(mixed, view.text_features)
    expected = 0.3 * F.cross_entropy(both, view.columns) + 0.7 * F.cross_entropy(both, view.columns[other])
    torch.testing.assert_close(trainer.own_losses(view, logits)["loss_mix"], expected)
    monkeypatch.setattr(torch.distributions, "Beta", whole)


class _Share:
    def __init__(self, value: float) -> None:
        self.value = value

    def sample(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.full(shape, self.value)


def test_the_critic_is_tuned_beside_the_prompts_and_not_stored(build: Build) -> None:
    trainer = build("E2MIM", *FP32, "TRAINER.E2MIM.CRITIC", "bilinear")
    trainer.train()
    assert trainer.critic is not None
    assert not torch.equal(trainer.critic.detach(), torch.eye(len(trainer.critic)))
    assert list(trainer.model_state_dict("prompt_learner")) == ["ctx"]
    state = trainer.extra_state()
    other = build("E2MIM", *FP32, "TRAINER.E2MIM.CRITIC", "bilinear")
    other.prepare()
    other.load_extra_state(state)
    assert torch.equal(other.critic, trainer.critic)
    assert other.critic_sched.state_dict() == trainer.critic_sched.state_dict()
    rates = [part.param_groups[0]["lr"] for part in (trainer.optim, *trainer.companions)]
    assert rates[0] == rates[1] < 0.01, "both follow the schedule"
    memory = other.companions[0].state_dict()["state"][0]["momentum_buffer"]
    assert torch.equal(memory, trainer.companions[0].state_dict()["state"][0]["momentum_buffer"])


def test_a_critic_without_a_loss_is_said_and_harms_nothing(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("TRAINER.E2MIM.CRITIC", "bilinear", "TRAINER.E2MIM.MI_WEIGHT", "0.0")
    trainer = build("E2MIM", *FP32, *options)
    assert "TRAINER.E2MIM.CRITIC has no effect with TRAINER.E2MIM.MI_WEIGHT 0" in caplog.text
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)  # refuses an optimiser without gradients
    trainer.train()
    assert torch.equal(trainer.critic, torch.eye(len(trainer.critic)))


def test_hand_crafted_features_are_exact_under_autocast(build: Build) -> None:
    trainer = build("E2MIM", *FP32)
    with torch.autocast("cpu", torch.bfloat16):
        found = trainer.hand_crafted
    again = build("E2MIM", *FP32).hand_crafted
    assert torch.equal(found, again)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_ensemble_is_of_both_kinds_of_prompts(build: Build, share: float) -> None:
    trainer = build("E2MIM", *FP32, "TRAINER.E2MIM.ENSEMBLE", str(share))
    trainer.start_test("test")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = trainer.test_image_features(images)
        soft = trainer.class_logits(features, trainer.model.text_features())
        hand = trainer.model.logits(features, trainer.hand_crafted)
        torch.testing.assert_close(trainer.test_logits(features), (1 - share) * soft + share * hand)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("MI_WEIGHT", "-0.5", "MI_WEIGHT is -0.5; it must be a number, 0 or more"),
        ("MIX_WEIGHT", "-1.0", "MIX_WEIGHT is -1.0; it must be a number, 0 or more"),
        ("MI_TAU", "0.0", "MI_TAU is 0.0; it must be a number above 0"),
        ("MIX_ALPHA", "-1.0", "MIX_ALPHA is -1.0; it must be a number above 0"),
        ("ENSEMBLE", "1.5", "ENSEMBLE is 1.5; it must be a number in"),
        ("CRITIC", "linear", "CRITIC is 'linear'; it must be one of cosine, bilinear"),
        ("MIX_MODE", "across", "MIX_MODE is 'across'; it must be one of between, within"),
    ],
)
def test_wrong_options_are_named(build: Build, option: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"TRAINER\.E2MIM\.{message}"):
        build("E2MIM", *FP32, f"TRAINER.E2MIM.{option}", value)
