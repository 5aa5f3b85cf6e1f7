"""DPC as the second stage of a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from trainers.core import View
from trainers.plugins.dpc.sampler import first_of_each

Make = Callable[..., Any]
NO_TEST = ("TEST.NO_TEST", "True")


def one_batch(trainer: Any) -> Any:
    """The losses of a first mini-batch."""
    trainer.prepare()
    trainer.before_epoch()
    trainer.set_model_mode("train")
    return trainer.compute_loss(next(iter(trainer.train_batches())))


# -- two prompts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["paper", "direct", "released"])
def test_statistics_are_mixed_as_prompts_are(dpc: Make, reading: str) -> None:
    trainer = dpc("PromptKD", "TRAINER.DPC.VARIANT", reading, *NO_TEST)
    norm = trainer.model.prompt_learner.projection[1]
    tuned = {name: getattr(norm, name).clone() for name in ("running_mean", "running_var")}
    trainer.train()
    for name, before in tuned.items():
        with trainer.dual_prompts.showing("tuned"):
            assert torch.equal(getattr(norm, name), before)
        with trainer.dual_prompts.showing("parallel"):
            parallel = getattr(norm, name).clone()
        assert (parallel - before).abs().max() > 1e-4
        mixed = parallel if reading == "released" else 0.2 * parallel + 0.8 * before
        trainer.set_model_mode("eval")
        torch.testing.assert_close(getattr(norm, name), mixed, atol=1e-6, rtol=1e-5)
        with trainer.dual_prompts.showing("new"):
            torch.testing.assert_close(getattr(norm, name), before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [(), ("TRAINER.DPC.HARD_NEGATIVES", "False")])
def test_a_mini_batch_of_one_image_trains(dpc: Make, options: tuple[str, ...]) -> None:
    alone = ("DATALOADER.TRAIN_X.BATCH_SIZE", "1", *NO_TEST, *options)
    trainer = dpc("PromptKD", *alone)
    trainer.train()
    assert all(leaf.isfinite().all() for leaf in trainer.model.prompt_learner.tuned_tensors().values())


def test_new_layers_are_named_as_they_are_without_dpc(dpc: Make) -> None:
    trainer = dpc(
        "CoCoOp", "OPTIM.STAGED_LR", "True", "OPTIM.NEW_LAYERS", "('ctx',)", "OPTIM.BASE_LR_MULT", "0.1"
    )
    leaves = trainer.model.prompt_learner.tuned_tensors()
    rates = {id(leaf): group["lr"] for group in trainer.optim.param_groups for leaf in group["params"]}
    found = {key: rates[id(leaf)] for key, leaf in leaves.items()}
    assert found.pop("ctx") == pytest.approx(0.01)
    assert len(found) == 4 and all(rate == pytest.approx(0.001) for rate in found.values())
    before = leaves["ctx"].detach().clone()
    trainer.train()
    assert not torch.equal(leaves["ctx"], before)
    only = dpc("CoOp", "OPTIM.STAGED_LR", "True", "OPTIM.NEW_LAYERS", "('ctx',)", output="only")
    assert only.optim.param_groups[1]["params"][0] is only.model.prompt_learner.tuned_tensors()["ctx"]


def test_which_epoch_of_the_backbone_is_continued(dpc: Make, tmp_path: Path) -> None:
    best = ("TEST.FINAL_MODEL", "best_val", "TEST.NO_TEST", "False")

    def tuned(*options: str) -> tuple[str, torch.Tensor]:
        trainer = dpc("CoOp", *options, backbone=best)
        with trainer.dual_prompts.showing("tuned"):
            return trainer.backbone_checkpoint.name, trainer.model.prompt_learner.ctx.clone()

    tuned()
    folder = tmp_path / "CoOp-base/prompt_learner"
    checkpoint = torch.load(folder / "model-best.pth.tar")
    checkpoint["state_dict"]["ctx"] += 1
    torch.save(checkpoint, folder / "model-best.pth.tar")
    last = torch.load(folder / "model.pth.tar-2")["state_dict"]["ctx"]

    name, ctx = tuned("TRAINER.DPC.BACKBONE_EPOCH", "0")
    assert name == "model-best.pth.tar" and torch.equal(ctx, checkpoint["state_dict"]["ctx"])
    for epoch in ("-1", "2"):
        name, ctx = tuned("TRAINER.DPC.BACKBONE_EPOCH", epoch)
        assert name == "model.pth.tar-2" and torch.equal(ctx, last)
    (folder / "model.pth.tar-2").unlink()
    name, ctx = tuned()
    assert name == "model-best.pth.tar" and torch.equal(ctx, checkpoint["state_dict"]["ctx"])
    with pytest.raises(FileNotFoundError, match=r"BACKBONE_DIR .*tar-2 .*there is model-best"):
        tuned("TRAINER.DPC.BACKBONE_EPOCH", "2")
    (folder / "model-best.pth.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"TRAINER\.DPC\.BACKBONE_DIR .*no checkpoint of any epoch"):
        tuned()


# -- hard negatives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "images"),
    [
        (("TRAINER.DPC.VARIANT", "released"), 4),
        (("TRAINER.DPC.VARIANT", "paper"), 3),
        (("TRAINER.DPC.VARIANT", "direct"), 3),
        (("TRAINER.DPC.VARIANT", "released", "TRAINER.DPC.NEGATIVE_POOL", "fewshot"), 3),
        (("TRAINER.DPC.VARIANT", "paper", "TRAINER.DPC.NEGATIVE_POOL", "train"), 4),
    ],
)
def test_where_negatives_come_from(dpc: Make, options: tuple[str, ...], images: int) -> None:
    trainer = dpc("CoOp", *options)
    trainer.prepare()
    dataset = trainer.dm.dataset
    source = dataset.train_full if images == 4 else dataset.train_x
    assert trainer.negatives.pool.keys() == {0, 1, 2}
    for label, items in trainer.negatives.pool.items():
        assert items == [item for item in source if item.label == label] and len(items) == images


def test_training_twice_completes_the_same_mini_batches(dpc: Make, tmp_path: Path) -> None:
    options = ("TRAINER.DPC.TOPK", "2", "TRAINER.DPC.VARIANT", "paper", *NO_TEST)
    trainer = dpc("CoOp", *options, classes="all")
    loader, of_loader, seen = trainer.train_loader_x, [], []
    step = trainer.forward_backward
    assert not hasattr(trainer, "negatives")  # an evaluation needs none

    def forward_backward(batch: Any) -> Any:
        seen.append(batch["label"].tolist())
        return step(batch)

    trainer.forward_backward = forward_backward
    for run in ("first", "second"):
        trainer.output_dir = str(tmp_path / run)
        seen.clear()
        trainer.train()
        assert trainer.train_loader_x is loader is trainer.dm.train_loader_x
        assert len(seen) == 2 * len(loader)
        assert all(len(labels) <= 4 * 2 for labels in seen)  # b * K
        of_loader.append([list(labels) for labels in seen])
    assert any(len(labels) > 4 for labels in of_loader[1])  # negatives in the second run, too


def test_the_own_images_are_those_of_the_loader(dpc: Make) -> None:
    trainer = dpc("CoOp", "TRAINER.DPC.VARIANT", "paper", classes="all")
    trainer.prepare()
    given = []
    start = trainer.negatives.start

    def note(batch: Any, *words: Any) -> Any:
        given.append(batch)
        return start(batch, *words)

    object.__setattr__(trainer.negatives, "start", note)
    trainer.before_epoch()
    completed = list(trainer.train_batches())
    assert len(completed) == len(given) == len(trainer.train_loader_x)
    for before, after in zip(given, completed, strict=True):
        rows = first_of_each(before["label"])
        assert torch.equal(after["img"][: len(rows)], before["img"][rows])
        assert torch.equal(after["label"][: len(rows)], before["label"][rows])
        assert len(set(after["label"].tolist())) == len(after["label"])  # a pair a class


@pytest.mark.parametrize(
    ("reading", "limits", "keeps"), [("released", (4, 2), True), ("paper", (3, 0), False)]
)
def test_a_reading_decides_how_many_there_are(
    dpc: Make, reading: str, limits: tuple[int, int], keeps: bool
) -> None:
    trainer = dpc("CoOp", "TRAINER.DPC.VARIANT", reading, "TRAINER.DPC.TOPK", "4", classes="all")
    trainer.prepare()
    found = trainer.negatives
    assert (found.k, found.limits, found.keeps_duplicates) == (4, limits, keeps)


def test_every_epoch_has_draws_of_its_own(dpc: Make) -> None:
    trainer = dpc("CoOp", *NO_TEST)
    trainer.prepare()
    seeds: list[str] = []
    object.__setattr__(trainer.negatives, "complete", lambda batches, seed: seeds.append(seed) or [])
    for trainer.epoch in (0, 1):
        assert list(trainer.train_batches()) == []
    assert seeds == ["1/0", "1/1"]


@pytest.mark.parametrize(
    ("method", "reading", "augmented"),
    [("CoOp", "released", True), ("CoOp", "paper", True), ("PromptKD", "released", False)],
)
def test_which_transform_negatives_go_through(dpc: Make, method: str, reading: str, augmented: bool) -> None:
    trainer = dpc(method, "TRAINER.DPC.VARIANT", reading)
    item, manager = trainer.dm.dataset.train_x[0], trainer.dm
    expected = manager.load_item(item, 7, is_train=augmented)
    assert torch.equal(trainer.load_negative(item, 7), expected)
    assert not torch.equal(expected, manager.load_item(item, 7, is_train=not augmented))


def pairs_of(trainer: Any, *labels: int) -> dict[str, Any]:
    """A completed mini-batch of one training image a label, whose first two features are known."""
    items = [next(i for i in trainer.dm.dataset.train_x if i.label == label) for label in labels]
    images = torch.stack([trainer.dm.load_item(item, None, is_train=False) for item in items])
    known = None
    if trainer.frozen_image_tower() is not None:
        known = trainer.model.image_features(images[:2]).detach()
    return {"img": images, "label": torch.tensor(labels), "query_features": known}


@pytest.mark.parametrize("method", ["CoOp", "PromptSRC"])
def test_a_view_holds_the_classes_of_its_pairs_alone(dpc: Make, method: str) -> None:
    trainer = dpc(method, classes="all")
    trainer.prepare()
    trainer.set_model_mode("train")
    batch = pairs_of(trainer, 5, 1, 4, 1)
    with torch.no_grad():
        view = trainer.view(batch)
        assert view.classes.tolist() == [1, 4, 5]
        assert view.classes[view.columns].tolist() == view.labels.tolist() == [5, 1, 4, 1]
        close = {"atol": 1e-5, "rtol": 1e-5}
        torch.testing.assert_close(view.image_features, trainer.model.image_features(batch["img"]), **close)
        torch.testing.assert_close(view.text_features, trainer.model.text_features()[[1, 4, 5]], **close)


@pytest.mark.parametrize(("reading", "share"), [("paper", 1.0), ("direct", 1.0), ("released", 0.5)])
def test_pair_i_is_on_the_diagonal(dpc: Make, reading: str, share: float) -> None:
    trainer = dpc("CoOp", "TRAINER.DPC.VARIANT", reading, classes="all")
    logits, columns = 5 * torch.randn(4, 3), torch.tensor([2, 0, 1, 0])
    nothing = torch.empty(0)
    view = View(nothing, nothing, columns, nothing, nothing)
    [(name, found)] = trainer.classification_loss(view, logits).items()
    to_text = sum(-logits[i, columns].log_softmax(0)[i] for i in range(4)) / 4
    to_image = sum(-logits[:, columns[i]].log_softmax(0)[i] for i in range(4)) / 4
    assert name == "loss_cl"
    torch.testing.assert_close(found, share * (to_text + to_image))


def test_other_losses_are_of_the_classes_of_the_pairs(dpc: Make) -> None:
    trainer = dpc("KgCoOp", classes="all")
    trainer.prepare()
    view = trainer.view(pairs_of(trainer, 5, 3))
    fixed = trainer.fixed_text_features[[3, 5]]
    expected = 8 * (1 - F.cosine_similarity(view.text_features, fixed).mean())
    torch.testing.assert_close(trainer.own_losses(view, torch.zeros(2, 2))["loss_kg"], expected)

    trainer = dpc("PromptSRC", classes="all")
    trainer.prepare()
    view = trainer.view(pairs_of(trainer, 5, 3))
    logits = trainer.class_logits(view.image_features, view.text_features, view.classes)
    found = trainer.own_losses(view, logits)
    fixed = trainer.fixed_text_features[[3, 5]]
    torch.testing.assert_close(found["loss_scl_text"], 25 * (view.text_features - fixed).abs().mean())
    frozen = F.normalize(trainer.model.clip.encode_image(view.images), dim=-1)
    torch.testing.assert_close(found["loss_scl_image"], 10 * (view.image_features - frozen).abs().mean())
    p, q = trainer.model.logits(frozen, fixed).softmax(1), logits.softmax(1)
    torch.testing.assert_close(found["loss_scl_logits"], (p * (p / q).log()).sum() / 4, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "options"),
    [("CoOp", ()), ("IVLP", ()), ("PromptKD", ("TRAINER.DPC.QUERY", "student")), ("PromptKD", ())],
)
def test_ranking_is_by_the_tuned_prompt_before_and_behind_training(
    dpc: Make, method: str, options: tuple[str, ...]
) -> None:
    trainer = dpc(method, *options, *NO_TEST, "OPTIM.LR", "0.1")
    images = torch.randn(3, 3, 32, 32)
    trainer.prepare()
    trainer.set_model_mode("train")
    before = trainer.rank(images)
    trainer.set_model_mode("eval")
    with torch.no_grad(), trainer.dual_prompts.showing("tuned"):
        student = trainer.model(images)
    if method == "PromptKD" and not options:
        torch.testing.assert_close(before.scores, trainer.model.teacher_logits(images))
        assert not torch.allclose(before.scores, student, atol=1e-2)
    else:
        torch.testing.assert_close(before.scores, student, atol=1e-4, rtol=1e-4)
    assert (before.features is None) == (method != "CoOp")

    trainer.train()
    trainer.prepare()
    trainer.set_model_mode("train")
    torch.testing.assert_close(trainer.rank(images).scores, before.scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(trainer.rank(images[:1]).scores, before.scores[:1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("k", "warned"), [("2", False), ("3", True), ("8", True)])
def test_negatives_that_are_not_hard_are_named(
    dpc: Make, k: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dpc("CoOp", "TRAINER.DPC.TOPK", k).prepare()
    assert (f"TRAINER.DPC.TOPK is {k}, not below the 3 classes" in caplog.text) == warned


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("CoOp", set()),
        ("KgCoOp", {"loss_kg"}),
        ("PromptSRC", {"loss_scl_text", "loss_scl_image", "loss_scl_logits"}),
    ],
)
def test_the_backbones_other_losses_stay_unless_they_are_not_kept(
    dpc: Make, method: str, own: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    warning = "TRAINER.DPC.KEEP_BACKBONE_LOSS has no effect"
    assert one_batch(dpc(method)).losses.keys() == {"loss_cl", *own}
    assert warning not in caplog.text
    off = ("TRAINER.DPC.KEEP_BACKBONE_LOSS", "False")
    assert one_batch(dpc(method, *off)).losses.keys() == {"loss_cl"}
    assert (warning in caplog.text) == (not own)
    without = dpc(method, *off, "TRAINER.DPC.HARD_NEGATIVES", "False")
    assert one_batch(without).losses.keys() == {"loss_ce", *own}


# -- after the last step -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["released", "paper"])
@pytest.mark.parametrize(("rate", "warned"), [("1000", True), ("1e-12", False)])
def test_a_prompt_that_went_too_far_is_named(
    dpc: Make, reading: str, rate: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = dpc("CoOp", "OPTIM.LR", rate, "OPTIM.WEIGHT_DECAY", "0", "TRAINER.DPC.VARIANT", reading)
    trainer.train()
    assert ("P' went too far" in caplog.text) == warned
    if warned:
        message = next(m for m in caplog.messages if "too far" in m)
        ours, tuned = map(float, re.findall(r"\d+\.\d{4}", message))
        assert ours > tuned
    assert trainer.epochs_trained == 2


def test_no_validation_images_no_comparison(dpc: Make, caplog: pytest.LogCaptureFixture) -> None:
    trainer = dpc("CoOp", "OPTIM.LR", "1000", *NO_TEST)
    trainer.train()
    trainer = dpc("CoOp", "OPTIM.LR", "1000", output="again")
    trainer.dm.dataset._val = None
    trainer.train()
    assert "too far" not in caplog.text
