"""Checkpoints that do not fit are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from datasets.eurosat import EuroSAT

Build = Callable[..., Any]
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TEST.NO_TEST", "True")


@pytest.fixture
def coop(build: Build, tmp_path: Path) -> Path:
    """A trained CoOp."""
    build("CoOp", *FP32, output=tmp_path / "coop").train()
    return tmp_path / "coop"


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    [path] = folder.glob("prompt_learner/model.pth.tar-*")
    checkpoint = torch.load(path)
    edit(checkpoint)
    torch.save(checkpoint, path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["state_dict"].pop("ctx"), "ctx is missing"),
        (lambda c: c["state_dict"].update(ctx=torch.zeros(16, 64)), r"shape \(16, 64\), expected \(4, 64\)"),
        (
            lambda c: c["state_dict"].update({"meta_net.linear1.bias": torch.zeros(2)}),
            "meta_net.linear1.bias",
        ),
        (lambda c: c.update(trainer="CoCoOp"), "holds prompts of CoCoOp"),
    ],
)
def test_misfits_are_named(
    build: Build, coop: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change(coop, edit)
    with pytest.raises(ValueError, match=message):
        build("CoOp", *FP32).load_model(str(coop), epoch=-1)
    with pytest.raises(ValueError, match=message):
        build("CoOp_DPC", *FP32, "TRAINER.DPC.BACKBONE_DIR", str(coop))


def test_original_files_without_our_entries_and_with_token_buffers_load(build: Build, coop: Path) -> None:
    def as_upstream(checkpoint: dict[str, Any]) -> None:
        state = {"ctx": checkpoint["state_dict"]["ctx"].half(), "token_prefix": torch.zeros(3, 1, 64)}
        state["token_suffix"] = torch.zeros(3, 72, 64)
        epoch = checkpoint["epoch"]
        checkpoint.clear()
        checkpoint.update(state_dict=state, epoch=epoch, optimizer=None, scheduler=None, val_result=None)

    change(coop, as_upstream)
    trainer = build("CoOp", *FP32)
    trainer.load_model(str(coop), epoch=2)
    assert trainer.model.prompt_learner.ctx.dtype == torch.float32


def test_a_backbone_of_other_classes_or_retrained_since_is_refused(
    build: Build, coop: Path, tmp_path: Path
) -> None:
    dpc = (*FP32, "TRAINER.DPC.BACKBONE_DIR", str(coop))
    with pytest.raises(ValueError, match="other classes"):
        build("CoOp_DPC", *dpc, "DATASET.SUBSAMPLE_CLASSES", "new").train()
    build("CoOp_DPC", *dpc, output=tmp_path / "dpc").train()
    change(coop, lambda checkpoint: checkpoint["state_dict"]["ctx"].add_(1))
    with pytest.raises(ValueError, match="other prompts"):
        build("CoOp_DPC", *dpc).load_model(str(tmp_path / "dpc"), epoch=-1)


def test_too_few_words_for_the_context_are_named(build: Build) -> None:
    with pytest.raises(ValueError, match="'a photo' has 2 tokens, fewer than the 4"):
        options = ("TRAINER.PROMPTSRC.CTX_INIT", "a photo", "TRAINER.PROMPTSRC.PREC", "fp32")
        build("PromptSRC", *options)


def test_class_specific_context_only_fits_its_classes(build: Build, tmp_path: Path) -> None:
    csc = (*FP32, "TRAINER.COOP.CSC", "True")
    build("CoOp", *csc, output=tmp_path / "csc").train()
    with pytest.raises(ValueError, match="CSC"):
        build("CoOp", *csc, "DATASET.SUBSAMPLE_CLASSES", "new").load_model(str(tmp_path / "csc"), epoch=-1)


class Trained:
    """A trained CoOp_DPC of a reading, its two prompts, and what evaluations of it show."""

    def __init__(self, build: Build, coop: Path, folder: Path, reading: str) -> None:
        self.build, self.folder = build, folder
        self.options = (*FP32, "TRAINER.DPC.BACKBONE_DIR", str(coop), "TRAINER.DPC.VARIANT", reading)
        trained = build("CoOp_DPC", *self.options, output=folder)
        trained.train()
        with trained.dual_prompts.showing("parallel"):
            self.parallel = trained.model.prompt_learner.ctx.detach().clone()
        self.tuned = torch.load(coop / "prompt_learner/model.pth.tar-2")["state_dict"]["ctx"]
        assert (self.parallel - self.tuned).abs().max() > 1e-4

    def shown(self, classes: str, *options: str) -> torch.Tensor:
        trainer = self.build("CoOp_DPC", *self.options, "DATASET.SUBSAMPLE_CLASSES", classes, *options)
        trainer.load_model(str(self.folder), epoch=-1)
        trainer.set_model_mode("eval")
        return trainer.model.prompt_learner.ctx.detach()


CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.mark.parametrize("reading", ["paper", "direct"])
def test_weights_can_change_at_evaluation_but_not_the_variant(
    build: Build, coop: Path, tmp_path: Path, reading: str
) -> None:
    trained = Trained(build, coop, tmp_path / "dpc", reading)
    shown, parallel, tuned = trained.shown, trained.parallel, trained.tuned
    torch.testing.assert_close(shown("base"), 0.2 * parallel + 0.8 * tuned, **CLOSE)
    torch.testing.assert_close(
        shown("base", "TRAINER.DPC.WEIGHT_BASE", "0.7"), 0.7 * parallel + 0.3 * tuned, **CLOSE
    )
    torch.testing.assert_close(
        shown("new", "TRAINER.DPC.WEIGHT_NEW", "0.4"), 0.4 * parallel + 0.6 * tuned, **CLOSE
    )
    torch.testing.assert_close(shown("new"), tuned, **CLOSE)
    torch.testing.assert_close(shown("new", "TRAINER.DPC.DECOUPLING", "False"), shown("base"), **CLOSE)
    with pytest.raises(ValueError, match=rf"set TRAINER\.DPC\.VARIANT {reading}"):
        shown("base", "TRAINER.DPC.VARIANT", "released")


def test_a_data_set_without_halves_has_no_source_classes_where_a_checkpoint_says_nothing(
    build: Build, coop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shifted ImageNet under an original checkpoint: "base" means all of its classes, which get w_n."""
    trained = Trained(build, coop, tmp_path / "dpc", "direct")
    change(tmp_path / "dpc", lambda checkpoint: checkpoint.pop("classnames"))
    base, new = 0.2 * trained.parallel + 0.8 * trained.tuned, trained.tuned
    torch.testing.assert_close(trained.shown("base"), base, **CLOSE)
    monkeypatch.setattr(EuroSAT, "has_halves", False)
    for subset in ("base", "new", "all"):
        torch.testing.assert_close(trained.shown(subset), new, **CLOSE)


@pytest.mark.parametrize("reading", ["paper", "direct", "released"])
def test_a_weight_of_zero_evaluates_the_tuned_prompt_itself(
    build: Build, coop: Path, tmp_path: Path, reading: str
) -> None:
    trained = Trained(build, coop, tmp_path / "dpc", reading)
    assert torch.equal(trained.shown("base", "TRAINER.DPC.WEIGHT_BASE", "0"), trained.tuned)
    assert not torch.allclose(trained.shown("base"), trained.tuned, atol=1e-5)
    new = trained.shown("new", "TRAINER.DPC.WEIGHT_BASE", "0", "TRAINER.DPC.WEIGHT_NEW", "0.4")
    torch.testing.assert_close(new, 0.4 * trained.parallel + 0.6 * trained.tuned, **CLOSE)


def test_released_shows_the_parallel_prompt_under_any_weight_and_says_so(
    build: Build, coop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = Trained(build, coop, tmp_path / "dpc", "released")

    def warned() -> bool:
        return "TRAINER.DPC.WEIGHT_BASE 0.7 has no effect" in caplog.text

    torch.testing.assert_close(trained.shown("base"), trained.parallel, **CLOSE)
    trained.shown("base", "TRAINER.DPC.WEIGHT_BASE", "0.2")
    trained.shown("base", "TRAINER.DPC.WEIGHT_BASE", "0")
    assert "has no effect on an evaluation" not in caplog.text
    torch.testing.assert_close(
        trained.shown("base", "TRAINER.DPC.WEIGHT_BASE", "0.7"), trained.parallel, **CLOSE
    )
    assert warned()


def test_a_weight_of_zero_cannot_be_trained(build: Build, coop: Path) -> None:
    dpc = (*FP32, "TRAINER.DPC.BACKBONE_DIR", str(coop), "TRAINER.DPC.WEIGHT_BASE", "0")
    with pytest.raises(ValueError, match=r"TRAINER\.DPC\.WEIGHT_BASE is 0"):
        build("CoOp_DPC", *dpc).train()


def test_some_of_the_tuned_classes_are_source_classes_too(build: Build, tmp_path: Path) -> None:
    coop, subset = tmp_path / "coop", "DATASET.SUBSAMPLE_CLASSES"
    build("CoOp", *FP32, "OPTIM.MAX_EPOCH", "1", subset, "all", output=coop).train()
    dpc = (*FP32, "OPTIM.MAX_EPOCH", "1", "TRAINER.DPC.BACKBONE_DIR", str(coop), subset)
    build("CoOp_DPC", *dpc, "all", output=tmp_path / "all").train()
    build("CoOp_DPC", *dpc, "base", output=tmp_path / "base").train()

    def on_source_classes(run: str, classes: str) -> bool:
        trainer = build("CoOp_DPC", *dpc, classes)
        trainer.load_model(str(tmp_path / run), epoch=-1)
        return trainer.on_source_classes()

    assert [on_source_classes("all", classes) for classes in ("all", "base", "new")] == [True] * 3
    assert [on_source_classes("base", classes) for classes in ("all", "base", "new")] == [False, True, False]


def own_folder(home: Path) -> Path:
    """Four classes of four plain images."""
    for number, name in enumerate(("ant", "bee", "cow", "dog")):
        (home / name).mkdir(parents=True)
        for image in range(4):
            Image.new("RGB", (32, 32), (60 * number, 50 * image, 90)).save(home / name / f"{image}.png")
    return home


def test_two_folders_of_ones_own_are_two_data_sets(build: Build, tmp_path: Path) -> None:
    """As with ImageNet and ImageNetV2: the same class names, but not the images that P' was tuned on."""
    near, far = own_folder(tmp_path / "near"), own_folder(tmp_path / "far")
    options = (*FP32, "OPTIM.MAX_EPOCH", "1", "DATASET.NAME", "Folder", "DATASET.DIR")
    dpc = ("TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "coop"))
    build("CoOp", *options, str(near), output=tmp_path / "coop").train()
    build("CoOp_DPC", *options, str(near), *dpc, output=tmp_path / "dpc").train()

    def on_source_classes(folder: Path, classes: str = "base") -> bool:
        trainer = build("CoOp_DPC", *options, str(folder), *dpc, "DATASET.SUBSAMPLE_CLASSES", classes)
        trainer.load_model(str(tmp_path / "dpc"), epoch=-1)
        return trainer.on_source_classes()

    assert on_source_classes(near)
    assert not on_source_classes(near, "new")
    assert not on_source_classes(far)
    with pytest.raises(ValueError, match=r"tuned on other classes \(near: ant, bee"):
        build("CoOp_DPC", *options, str(far), *dpc).train()

    for run in ("coop", "dpc"):  # as written before data sets of one's own had names
        change(tmp_path / run, lambda checkpoint: checkpoint.update(dataset="Folder"))
    assert on_source_classes(near)
    assert not on_source_classes(near, "new")
