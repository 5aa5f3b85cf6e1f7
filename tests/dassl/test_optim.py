import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.radam import RAdam
from dassl.utils import load_checkpoint, plain_name, write_checkpoint


def optim_cfg(**options):
    cfg = get_cfg_default().OPTIM
    for key, value in {"NAME": "sgd", "LR": 0.002, "LR_SCHEDULER": "cosine", **options}.items():
        cfg[key] = value
    return cfg


def schedule(cfg, epochs=None):
    optimizer = build_optimizer(nn.Linear(1, 1), cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    rates = []
    for _ in range(epochs or cfg.MAX_EPOCH):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_golden_learning_rates(golden):
    expected = np.load(golden / "rec/train/lr_schedules.npz")
    assert len(expected) == 48
    for key in expected:
        epochs, kind, warmup, _ = key.split("_")
        cfg = optim_cfg(MAX_EPOCH=int(epochs[1:]), WARMUP_TYPE=kind, WARMUP_EPOCH=int(warmup[4:]))
        np.testing.assert_allclose(schedule(cfg), expected[key], rtol=1e-12, err_msg=key)


def test_steps():
    rates = schedule(optim_cfg(LR_SCHEDULER="single_step", STEPSIZE=(2,), LR=1.0), 5)
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    rates = schedule(optim_cfg(LR_SCHEDULER="multi_step", STEPSIZE=(1, 4), LR=1.0), 6)
    assert rates == pytest.approx([1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert schedule(optim_cfg(LR_SCHEDULER="single_step", LR=1.0), 10) == [1.0] * 10


@pytest.mark.parametrize("kind", ["constant", "linear"])
@pytest.mark.parametrize("stop", [1, 2, 5])
def test_state_goes_on(kind, stop):
    cfg = optim_cfg(MAX_EPOCH=8, WARMUP_TYPE=kind, WARMUP_EPOCH=2)
    expected = schedule(cfg)
    first = build_optimizer(nn.Linear(1, 1), cfg)
    scheduler = build_lr_scheduler(first, cfg)
    for _ in range(stop):
        first.step()
        scheduler.step()
    second = build_optimizer(nn.Linear(1, 1), cfg)
    resumed = build_lr_scheduler(second, cfg)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    rates = []
    for _ in range(stop, 8):
        rates.append(second.param_groups[0]["lr"])
        second.step()
        resumed.step()
    assert rates == expected[stop:]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("amsgrad", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("radam", RAdam),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_optimizers(name, kind):
    model = nn.Linear(2, 2)
    for target in (model, list(model.parameters()), [{"params": model.parameters(), "lr": 0.5}]):
        optimizer = build_optimizer(target, optim_cfg(NAME=name))
        assert type(optimizer) is kind
        assert optimizer.defaults["lr"] == 0.002 and optimizer.defaults["weight_decay"] == 5e-4
    assert optimizer.param_groups[0]["lr"] == 0.5


def rectified(weight, gradients, lr, betas, decay, eps=1e-8):
    """Algorithm 2 of Liu et al., 2019, with the decay of a weight apart from its gradient, as in Dassl."""
    (b1, b2), m, v, weights = betas, 0.0, 0.0, []
    longest = 2 / (1 - b2) - 1
    for t, gradient in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        length = longest - 2 * t * b2**t / (1 - b2**t)
        weight -= lr * decay * weight
        step = m / (1 - b1**t)
        if length >= 5:
            r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            step *= np.sqrt(r * (1 - b2**t)) / (np.sqrt(v) + eps)
        weight -= lr * step
        weights.append(weight)
    return weights


def test_radam_is_dassls():
    gradients = np.random.default_rng(0).normal(size=30).tolist()
    weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    cfg = optim_cfg(NAME="radam", LR=0.05, WEIGHT_DECAY=0.1, ADAM_BETA1=0.8, ADAM_BETA2=0.99)
    optimizer, weights = build_optimizer([weight], cfg), []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        weights.append(weight.item())
    expected = rectified(2.0, gradients, 0.05, (0.8, 0.99), 0.1)
    np.testing.assert_allclose(weights, expected, rtol=1e-9)
    coupled = rectified(2.0, gradients, 0.05, (0.8, 0.99), 0.0)
    assert not np.allclose(weights, coupled, rtol=1e-3)
    with pytest.raises(ValueError, match="degenerated_to_sgd"):
        RAdam([weight], degenerated_to_sgd=False)


def test_radam_goes_on_from_dassls_state(tmp_path):
    """Which holds plain numbers, and nothing of what torch's has beside Dassl's."""
    weight = nn.Parameter(torch.tensor([2.0]))
    state = {
        "state": {0: {"step": 7, "exp_avg": torch.tensor([0.5]), "exp_avg_sq": torch.tensor([0.25])}},
        "param_groups": [
            {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1, "params": [0]},
        ],
    }
    write_checkpoint({"optimizer": state, "object": RAdam([weight])}, str(tmp_path / "state"))
    optimizer = RAdam([weight])
    optimizer.load_state_dict(load_checkpoint(str(tmp_path / "state"))["optimizer"])
    weight.grad = torch.tensor([0.0])
    optimizer.step()  # the 8th: the mean gradient is 0.45, decay 1 %
    longest = 1999.0
    length = longest - 16 * 0.999**8 / (1 - 0.999**8)
    r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    step = 0.45 / (1 - 0.9**8) * np.sqrt(r * (1 - 0.999**8) / (0.25 * 0.999))
    assert length > 5 and weight.item() == pytest.approx(2.0 * 0.99 - 0.1 * step, rel=1e-5)


def test_staged_learning_rate():
    model = nn.ModuleDict({"film": nn.Linear(2, 2), "body": nn.Linear(2, 2)})
    model.register_parameter("ctx", nn.Parameter(torch.zeros(3)))
    cfg = optim_cfg(STAGED_LR=True, NEW_LAYERS=("film",), BASE_LR_MULT=0.1, LR=1.0)
    base, new = build_optimizer(model, cfg).param_groups
    assert base["lr"] == pytest.approx(0.1) and new["lr"] == 1.0
    assert len(base["params"]) == 3 and len(new["params"]) == 2
    cfg.NEW_LAYERS = ("flim",)
    with pytest.raises(ValueError, match="film"):
        build_optimizer(model, cfg)
    with pytest.raises(ValueError, match="STAGED_LR"):
        build_optimizer(list(model.parameters()), cfg)


class Doubled(nn.Module):
    """A parametrisation, with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, tensor):
        return self.factor * tensor


def test_staged_learning_rate_of_a_parametrised_module():
    """Its layers are those that it had before."""
    model = nn.ModuleDict({"film": nn.Linear(2, 2, bias=False), "body": nn.Linear(2, 2, bias=False)})
    model.register_parameter("ctx", nn.Parameter(torch.zeros(3)))
    original = model.ctx
    parametrize.register_parametrization(model, "ctx", Doubled())
    parametrize.register_parametrization(model["body"], "weight", Doubled())
    cfg = optim_cfg(STAGED_LR=True, NEW_LAYERS=("ctx",), LR=1.0)
    base, new = build_optimizer(model, cfg).param_groups
    own = [model.parametrizations.ctx.original, model.parametrizations.ctx[0].factor]
    assert {id(p) for p in new["params"]} == {id(p) for p in own} and original is own[0]
    assert len(base["params"]) == 3
    cfg.NEW_LAYERS = ("ctxx",)
    with pytest.raises(ValueError, match="Did you mean 'ctx'"):
        build_optimizer(model, cfg)
    cfg.NEW_LAYERS = ("parametrizations",)
    with pytest.raises(ValueError, match="Known: body, ctx, film"):
        build_optimizer(model, cfg)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("ctx", "ctx"),
        ("a.b.weight", "a.b.weight"),
        ("parametrizations.ctx.original", "ctx"),
        ("a.parametrizations.weight.original", "a.weight"),
        ("a.1.parametrizations.weight.original1", "a.1.weight"),
        ("a.parametrizations.weight.0.factor", "a.parametrizations.weight.0.factor"),
        ("parametrizations_of.ctx.original", "parametrizations_of.ctx.original"),
        ("parametrizations.ctx.originally", "parametrizations.ctx.originally"),
        ("my_parametrizations.ctx.original", "my_parametrizations.ctx.original"),
    ],
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain


def test_wrong_names():
    optimizer = build_optimizer(nn.Linear(1, 1), optim_cfg())
    with pytest.raises(ValueError, match="adamw"):
        build_optimizer(nn.Linear(1, 1), optim_cfg(NAME="adamww"))
    with pytest.raises(ValueError, match="cosine"):
        build_lr_scheduler(optimizer, optim_cfg(LR_SCHEDULER="cosin"))
    with pytest.raises(ValueError, match="constant"):
        build_lr_scheduler(optimizer, optim_cfg(WARMUP_EPOCH=1, WARMUP_TYPE="const"))
    with pytest.raises(ValueError, match="STEPSIZE"):
        build_lr_scheduler(optimizer, optim_cfg(LR_SCHEDULER="multi_step"))


def test_idle_settings_warn(caplog):
    with caplog.at_level(logging.WARNING):
        build_optimizer(nn.Linear(1, 1), optim_cfg(NEW_LAYERS=("film",)))
        build_lr_scheduler(build_optimizer(nn.Linear(1, 1), optim_cfg()), optim_cfg(STEPSIZE=(5,)))
    assert "NEW_LAYERS" in caplog.text and "STEPSIZE" in caplog.text


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw", "radam"])
def test_eps_of_the_adams_is_a_setting(name):
    weight = nn.Parameter(torch.zeros(1))
    [group] = build_optimizer([weight], optim_cfg(NAME=name, ADAM_EPS=1e-3)).param_groups
    assert group["eps"] == 1e-3
    [group] = build_optimizer([weight], optim_cfg(NAME=name)).param_groups
    assert group["eps"] == 1e-8
