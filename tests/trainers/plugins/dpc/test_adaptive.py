"""A w_b that the validation images choose."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dassl.config import get_cfg_default
from dassl.data.datasets import Datum
from dassl.utils import load_checkpoint
from trainers.plugins.dpc.adaptive import GRID, choose_shares, summary, validation_images
from trainers.plugins.dpc.options import OPTIONS
from trainers.plugins.dpc.weighting import ParallelLeaf, Rule

Make = Callable[..., Any]
NO_TEST = ("TEST.NO_TEST", "True")
AUTO = ("TRAINER.DPC.WEIGHT_BASE", "auto")
LARGE = ("OPTIM.LR", "0.5", "DATASET.NUM_SHOTS", "4", "TRAINER.DPC.TOPK", "3")
NAMES = ["ctx", "vision_ctx", "text.0", "image_proj"]


# -- the search --------------------------------------------------------------------------------------------


def test_one_weight_is_the_best_of_the_grid() -> None:
    assert choose_shares(NAMES, lambda w: (w["ctx"] - 0.34) ** 2) == dict.fromkeys(NAMES, 0.35)
    assert choose_shares(NAMES, lambda w: 1.0) == dict.fromkeys(NAMES, 0.0), "of equal ones that nearest to P"
    assert choose_shares(["ctx"], lambda w: -w["ctx"]) == {"ctx": 1.0}
    assert GRID[0] == 0 and GRID[-1] == 1 and 0.2 in GRID


def test_groups_find_their_own() -> None:
    best = {"ctx": 0.2, "vision_ctx": 0.9, "text.0": 0.2, "image_proj": 0.9}

    def loss(shares: Mapping[str, float]) -> float:
        return sum((shares[name] - best[name]) ** 2 for name in NAMES)

    assert choose_shares(NAMES, loss, "tower") == best
    own = {**best, "text.0": 0.6}
    assert choose_shares(NAMES, lambda w: sum((w[n] - own[n]) ** 2 for n in NAMES), "tensor") == own


def test_what_hangs_together_is_looked_at_again() -> None:
    def loss(shares: Mapping[str, float]) -> float:
        return (shares["a"] + shares["b"] - 1) ** 2 + 0.1 * (shares["a"] - 0.9) ** 2

    found = choose_shares(["a", "b"], loss, "tensor")
    single = choose_shares(["a", "b"], loss)
    assert loss(found) < loss(single) and found["a"] > found["b"]


def test_summary() -> None:
    assert summary({"a": 0.35, "b": 0.35}) == "0.35"
    assert summary({"a": 0.5, "b": 0.0, "c": 0.5}) == "0 (1 tensors), 0.5 (2 tensors)"


@pytest.mark.parametrize("mixes", [True, False])
def test_a_chosen_share_stands_in_place_of_both(mixes: bool) -> None:
    rule = Rule(ParallelLeaf(), 0.2, 1e-6, mixes)
    assert rule.share_of("base") == (0.2 if mixes else 1.0)
    chosen = rule._replace(share=0.7)
    shown = ("parallel", "base", "new", "tuned")
    assert [chosen.share_of(each) for each in shown] == [1.0, 0.7, 1e-6, 0.0]


# -- in a run ----------------------------------------------------------------------------------------------


@torch.no_grad()
def losses_of(trainer: Any) -> list[float]:
    """The mean validation loss under each weight of the grid, with nothing of ours but the mix."""
    loader = trainer.dm.build_test_loader(trainer.dm.dataset.val)
    losses = []
    for weight in GRID:
        trainer.set_model_mode("eval")
        with trainer.dual_prompts.mixed(weight):
            found = [
                F.cross_entropy(trainer.model(batch["img"]).float(), batch["label"], reduction="none")
                for batch in loader
            ]
        losses.append(float(torch.cat(found).mean()))
    return losses


@pytest.mark.parametrize("reading", ["released", "paper"])
@pytest.mark.parametrize("method", ["CoOp", "MaPLe", "PromptSRC", "PromptKD"])
def test_the_choice_is_stored_and_used(dpc: Make, tmp_path: Path, method: str, reading: str) -> None:
    words = ("TRAINER.DPC.VARIANT", reading, *LARGE, *NO_TEST)
    trainer = dpc(method, *AUTO, *words)
    trainer.train()
    losses = losses_of(trainer)
    chosen = GRID[losses.index(min(losses))]
    (path,) = (tmp_path / "dpc").glob("*/model.pth.tar-2")
    shares = load_checkpoint(str(path))["dpc"]["shares"]
    assert set(shares.values()) == {chosen} and set(shares) == set(trainer.dual_prompts.names)

    plain = dpc(method, *words, output="plain")
    plain.train()
    again = dpc(method, *AUTO, *words, output="again")
    again.load_model(str(tmp_path / "dpc"), 2)
    again.set_model_mode("eval")
    plain.set_model_mode("eval")
    for name, (part, _) in plain.dual_prompts._parts.items():
        owner, _, leaf = name.rpartition(".")
        with plain.dual_prompts.showing("parallel"):
            parallel = getattr(plain.model.prompt_learner.get_submodule(owner), leaf)
        own = getattr(again.model.prompt_learner.get_submodule(owner), leaf)
        expected = chosen * parallel + (1 - chosen) * part.tuned
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=1e-5)  # and P' is what it is without auto
    new = dpc(method, *AUTO, *words, "DATASET.SUBSAMPLE_CLASSES", "new", output="new")
    new.load_model(str(tmp_path / "dpc"), 2)
    new.set_model_mode("eval")
    kept = 0.0 if (method, reading) == ("PromptKD", "released") else 1e-6  # text is P's on new classes
    assert new.dual_prompts.shown == "new" and new.dual_prompts.share == kept


def test_labels_of_test_images_change_nothing(dpc: Make) -> None:
    first = dpc("CoOp", *AUTO, *LARGE)
    first.train()
    second = dpc("CoOp", *AUTO, *LARGE, output="shuffled")
    test = second.dm.dataset.test
    labels = [item.label for item in test]
    random.Random(0).shuffle(labels)
    test[:] = [
        Datum(item.impath, label, item.domain, item.classname)
        for item, label in zip(test, labels, strict=True)
    ]
    second.train()
    assert first._shares == second._shares and first._shares is not None


def test_a_fixed_number_still_evaluates(dpc: Make, tmp_path: Path) -> None:
    words = ("TRAINER.DPC.VARIANT", "paper", *LARGE, *NO_TEST)
    dpc("CoOp", *AUTO, *words).train()
    fixed = dpc("CoOp", "TRAINER.DPC.WEIGHT_BASE", "0.4", *words, output="fixed")
    fixed.load_model(str(tmp_path / "dpc"), 2)
    fixed.set_model_mode("eval")
    assert fixed.dual_prompts.share == 0.4


def test_what_cannot_be_chosen_is_said(dpc: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dpc("CoOp", *NO_TEST).train()
    with pytest.raises(ValueError, match="trained under a fixed one: give a number, or see what"):
        dpc("CoOp", *AUTO, output="x").load_model(str(tmp_path / "dpc"), 2)
    trainer = dpc("CoOp", *AUTO, output="x")
    trainer.dm.dataset._val = []
    with pytest.raises(ValueError, match=r"TRAINER\.DPC\.WEIGHT_BASE is auto: EuroSAT has no validation"):
        trainer.train()
    with pytest.raises(ValueError, match=r"WEIGHT_BASE is 'best'; it must be w_b in .* auto, or None"):
        dpc("CoOp", "TRAINER.DPC.WEIGHT_BASE", "best", output="x")
    with pytest.raises(ValueError, match=r"AUTO_GROUPS is 'all'; it must be one of one, tower, tensor"):
        dpc("CoOp", *AUTO, "TRAINER.DPC.AUTO_GROUPS", "all", output="x")
    dpc("CoOp", "TRAINER.DPC.AUTO_GROUPS", "tower", output="x")
    assert "TRAINER.DPC.AUTO_GROUPS has no effect without TRAINER.DPC.WEIGHT_BASE auto" in caplog.text


def test_test_images_are_no_validation_images() -> None:
    class Own:
        val = (1,)
        val_is_test = True

    with pytest.raises(ValueError, match="why: Own has no validation images; give w_b as a number"):
        validation_images(Own(), "why")


def test_an_interrupted_run_ends_with_the_same_choice(dpc: Make) -> None:
    trainer = dpc("CoOp", *AUTO, *LARGE, *NO_TEST)
    trainer.train()
    state = trainer.extra_state()
    other = dpc("CoOp", *AUTO, *LARGE, *NO_TEST, output="other")
    other.prepare()
    other.load_extra_state(state)
    assert other._shares == trainer._shares
    other.set_model_mode("train")
    assert other._shares is None  # they belong to what was saved


def test_the_word_stands_beside_numbers_in_settings() -> None:
    cfg = get_cfg_default()
    cfg.TRAINER.DPC = OPTIONS.clone()
    for value, expected in (("0.2", 0.2), ("auto", "auto"), ("0.3", 0.3), ("None", None), ("auto", "auto")):
        cfg.merge_from_list(["TRAINER.DPC.WEIGHT_BASE", value])
        found = cfg.TRAINER.DPC.WEIGHT_BASE
        assert found == expected
    cfg.merge_from_list(["TRAINER.DPC.WEIGHT_BASE", "0.3"])
    with pytest.raises(ValueError, match="WEIGHT_BASE is 'best'; it must be w_b in"):
        cfg.merge_from_list(["TRAINER.DPC.WEIGHT_BASE", "best"])
