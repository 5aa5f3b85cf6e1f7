import errno
import math
import os
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, StepLR

from dassl.engine.checkpoint import find_checkpoint
from dassl.optim import ConstantWarmupScheduler, build_lr_scheduler
from dassl.utils import (
    load_checkpoint,
    load_pretrained_weights,
    open_specified_layers,
    resume_from_checkpoint,
    save_checkpoint,
)
from tests.dassl.test_optim import optim_cfg


class Harmful:
    def __reduce__(self):
        return os.system, ("true",)


def state(epoch=3):
    return {"state_dict": {"module.weight": torch.ones(2, 2).half()}, "epoch": epoch, "val_result": None}


def test_files(tmp_path):
    save_checkpoint(state(), str(tmp_path / "m"), is_best=True)
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert names == ["checkpoint", "model-best.pth.tar", "model.pth.tar-3"]
    assert (tmp_path / "m" / "checkpoint").read_text() == "model.pth.tar-3\n"
    weights = load_checkpoint(str(tmp_path / "m" / "model.pth.tar-3"))["state_dict"]
    assert list(weights) == ["weight"] and weights["weight"].dtype == torch.half


def test_finding(tmp_path):
    for epoch in (5, 50):
        save_checkpoint(state(epoch), str(tmp_path / "m"))
    assert find_checkpoint(tmp_path, "m", 5).name == "model.pth.tar-5"
    assert find_checkpoint(str(tmp_path), "m", -1).name == "model.pth.tar-50"
    with pytest.raises(FileNotFoundError, match=r"Epochs there: 5, 50; there is no model-best"):
        find_checkpoint(tmp_path, "m")
    with pytest.raises(FileNotFoundError, match=r"model.pth.tar-7.*5, 50"):
        find_checkpoint(tmp_path, "m", 7)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_checkpoint(tmp_path, "other", -1)


def test_upstreams_file(shared):
    """What Dassl wrote, its scheduler object included, goes into our scheduler."""
    checkpoint = load_checkpoint(str(shared / "golden/ckpt_sample/coop_ctx4/prompt_learner/model.pth.tar-50"))
    assert checkpoint["epoch"] == 50 and checkpoint["state_dict"]["ctx"].shape[0] == 4
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.002)
    cfg = optim_cfg(MAX_EPOCH=50, WARMUP_TYPE="constant", WARMUP_EPOCH=1)
    scheduler = build_lr_scheduler(optimizer, cfg)
    scheduler.load_state_dict(checkpoint["scheduler"])
    assert isinstance(scheduler, ConstantWarmupScheduler)
    assert scheduler.successor.last_epoch == checkpoint["scheduler"]["successor"].last_epoch
    assert scheduler.successor.optimizer is optimizer


def as_dassl_writes(optimizer, successor, **entries):
    """What Dassl's ``save_model`` stores after a warm-up: its successor, an object, holds the optimiser."""
    warmup = {"cons_lr": 1e-5, "successor": successor, "warmup_epoch": 1, "base_lrs": [0.002]}
    warmup |= {"last_epoch": 1, "_step_count": 2, "_get_lr_called_within_step": False, "_last_lr": [0.002]}
    return {
        "state_dict": {"ctx": optimizer.param_groups[0]["params"][0].detach().clone()},
        "epoch": 2,
        "optimizer": optimizer.state_dict(),
        "scheduler": warmup,
        "val_result": None,
        **entries,
    }


def stepped(optimizer_class, scheduler_class, period, **options):
    """An optimiser behind two steps, with what it remembers of them, and its schedule behind three epochs."""
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = optimizer_class([parameter], lr=0.002, **options)
    successor = scheduler_class(optimizer, period)
    for _ in range(2):
        parameter.grad = torch.tensor([3.0, -4.0])
        optimizer.step()
    assert optimizer.state
    for _ in range(3):
        successor.step()
    return optimizer, successor


def plain(state):
    return {key: value.tolist() if torch.is_tensor(value) else value for key, value in state.items()}


@pytest.mark.parametrize(
    ("optimizer_class", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 5e-4}),
        (torch.optim.Adam, {"amsgrad": True}),
        (torch.optim.AdamW, {}),
        (torch.optim.RMSprop, {"momentum": 0.9}),
    ],
)
@pytest.mark.parametrize(
    ("scheduler_class", "period"), [(CosineAnnealingLR, 50), (StepLR, 3), (MultiStepLR, [2, 5])]
)
def test_dassls_file_behind_a_step(tmp_path, optimizer_class, options, scheduler_class, period):
    """The optimiser inside the scheduler remembers its steps, in a ``defaultdict`` by then."""
    optimizer, successor = stepped(optimizer_class, scheduler_class, period, **options)
    torch.save(as_dassl_writes(optimizer, successor), tmp_path / "x")

    checkpoint = load_checkpoint(str(tmp_path / "x"))
    assert torch.equal(checkpoint["state_dict"]["ctx"], optimizer.param_groups[0]["params"][0])
    stored = checkpoint["scheduler"]["successor"]
    assert type(stored) is scheduler_class and stored.last_epoch == 3
    [remembered], [expected] = stored.optimizer.state.values(), optimizer.state.values()
    assert plain(remembered) == plain(expected)


def test_a_run_goes_on_from_dassls_file_behind_a_step(tmp_path):
    optimizer, successor = stepped(torch.optim.SGD, CosineAnnealingLR, 50, momentum=0.9)
    torch.save(as_dassl_writes(optimizer, successor), tmp_path / "x")
    checkpoint = load_checkpoint(str(tmp_path / "x"))

    ours = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.002, momentum=0.9)
    scheduler = build_lr_scheduler(ours, optim_cfg(MAX_EPOCH=50, WARMUP_TYPE="constant", WARMUP_EPOCH=1))
    ours.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    assert scheduler.successor.optimizer is ours and scheduler.successor.last_epoch == 3
    [momentum] = (state["momentum_buffer"] for state in ours.state.values())
    assert momentum.tolist() == pytest.approx([3.0 * 1.9, -4.0 * 1.9])
    ours.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.001 * (1 + math.cos(math.pi * 4 / 50))])


def test_what_stands_for_a_defaultdict_runs_nothing_of_the_file(tmp_path):
    """A factory that the file names is neither called nor kept."""
    harmful = defaultdict(os.getcwd)
    harmful["a"] = 1
    torch.save({"state": harmful}, tmp_path / "x")
    with pytest.raises(ValueError, match="refused"):
        load_checkpoint(str(tmp_path / "x"))
    torch.save({"state": defaultdict(dict, a=1)}, tmp_path / "x")
    state = load_checkpoint(str(tmp_path / "x"))["state"]
    assert type(state) is dict and state == {"a": 1}


def test_ours_hold_plain_values_only(tmp_path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.002)
    scheduler = build_lr_scheduler(optimizer, optim_cfg(WARMUP_TYPE="constant", WARMUP_EPOCH=1))
    torch.save({"scheduler": scheduler.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "x")
    assert torch.load(tmp_path / "x", weights_only=True)["scheduler"]["warmup_epoch"] == 1


def test_refusals(tmp_path):
    file = tmp_path / "x.pt"
    with pytest.raises(FileNotFoundError, match=r"x\.pt"):
        load_checkpoint(str(file))
    torch.save({"a": Harmful()}, file)
    with pytest.raises(ValueError, match="refused"):
        load_checkpoint(str(file))
    torch.save([1], file)
    with pytest.raises(ValueError, match="not a dict"):
        load_checkpoint(str(file))


@pytest.mark.parametrize("length", [0, 1, 100, 700, -30])
def test_truncated(tmp_path, length):
    save_checkpoint(state(), str(tmp_path))
    file = tmp_path / "model.pth.tar-3"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model\.pth\.tar-3.*damaged"):
        load_checkpoint(str(file))


def test_full_disk(tmp_path, monkeypatch):
    save_checkpoint(state(), str(tmp_path))
    before = (tmp_path / "model.pth.tar-3").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left to write .*model\.pth\.tar-3"):
        save_checkpoint({**state(), "val_result": 1.0}, str(tmp_path))
    assert (tmp_path / "model.pth.tar-3").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "model.pth.tar-3"]


def test_module_helpers(tmp_path):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    save_checkpoint({"state_dict": source.state_dict(), "epoch": 4}, str(tmp_path))
    assert resume_from_checkpoint(str(tmp_path), target) == 4
    assert torch.equal(source.weight, target.weight)
    other = nn.Linear(2, 2)
    load_pretrained_weights(other, str(tmp_path / "model.pth.tar-4"))
    assert torch.equal(source.bias, other.bias)
    with pytest.raises(ValueError, match="No tensor"):
        load_pretrained_weights(nn.Conv2d(1, 1, 1), str(tmp_path / "model.pth.tar-4"))
    model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    open_specified_layers(model, "a")
    assert model["a"].weight.requires_grad and not model["b"].weight.requires_grad
