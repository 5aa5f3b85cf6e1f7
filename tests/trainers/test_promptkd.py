from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets.eurosat import EuroSAT

Build = Callable[..., Any]


@pytest.fixture
def student(build: Build, tmp_path: Path, tiny_clip_file: Path) -> Callable[..., Any]:
    """student(*options) -> PromptKD trainer with a PromptSRC teacher."""
    build(
        "PromptSRC", "TRAINER.PROMPTSRC.PREC", "fp32", "TEST.NO_TEST", "True", output=tmp_path / "teacher"
    ).train()
    teacher = ("TRAINER.PROMPTKD.TEACHER_DIR", str(tmp_path / "teacher"))
    teacher += ("TRAINER.PROMPTKD.TEACHER_PATH", str(tiny_clip_file), "TRAINER.PROMPTKD.PREC", "fp32")
    return lambda *options: build("PromptKD", *teacher, *options)


def count_teacher_images(trainer: Any, epochs: int) -> int:
    seen = 0
    original = trainer.model.teacher_logits

    def counting(images: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(images)
        return original(images)

    trainer.model.teacher_logits = counting
    trainer.prepare()
    trainer.set_model_mode("train")
    with torch.no_grad():
        for _ in range(epochs):
            for batch in trainer.train_loader_x:
                trainer.compute_loss(batch)
    return seen


def test_the_teacher_sees_an_image_once_where_its_views_are_all_the_same(student: Callable[..., Any]) -> None:
    same = student("INPUT.TRANSFORMS", "('normalize',)", "DATALOADER.TRAIN_X.DROP_LAST", "False")
    assert count_teacher_images(same, epochs=3) == len(same.dm.dataset.train_x)
    varied = student("DATALOADER.TRAIN_X.DROP_LAST", "False")
    assert count_teacher_images(varied, epochs=3) == 3 * len(varied.dm.dataset.train_x)


def test_a_transform_of_ones_own(student: Callable[..., Any]) -> None:
    trainer = student("INPUT.TRANSFORMS", "('normalize',)", "DATALOADER.TRAIN_X.DROP_LAST", "False")
    trainer.dm.tfm_train = lambda img: img  # nothing is known of it: its views may differ
    assert count_teacher_images(trainer, epochs=2) == 2 * len(trainer.dm.dataset.train_x)


@pytest.mark.parametrize(("classes", "images", "names"), [("base", 9, 3), ("new", 9, 3), ("all", 9, 3)])
def test_trains_on_all_classes_and_tests_those_that_are_asked_for(
    student: Callable[..., Any], classes: str, images: int, names: int
) -> None:
    trainer = student("DATASET.SUBSAMPLE_CLASSES", classes)
    assert {item.label for item in trainer.dm.dataset.train_x} == set(range(6))
    trainer.test()
    result = json.loads((Path(trainer.output_dir) / "results.jsonl").read_text())
    assert result["metrics"]["total"] == images
    assert trainer._text_features.shape[0] == names


def test_a_data_set_without_halves_is_tested_on_all_classes(
    student: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EuroSAT, "has_halves", False)
    trainer = student("DATASET.SUBSAMPLE_CLASSES", "base")
    trainer.test()
    result = json.loads((Path(trainer.output_dir) / "results.jsonl").read_text())
    assert result["metrics"]["total"] == 18 and trainer._text_features.shape[0] == 6
    assert result["subsample_classes"] == "all"


def statistics(trainer: Any) -> dict[str, torch.Tensor]:
    norm = trainer.model.prompt_learner.projection[1]
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {name: getattr(norm, name).detach().clone() for name in names}


def steps_on_all_batches(trainer: Any) -> list[tuple[int, bool]]:
    """Images of each mini-batch of an epoch, and whether it changed the running statistics."""
    trainer.before_train()
    trainer.before_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = len(trainer.train_loader_x)
    found = []
    for batch in trainer.train_batches():
        before = statistics(trainer)
        summary = trainer.forward_backward(batch)
        assert all(torch.isfinite(value) for value in summary.values())
        after = statistics(trainer)
        found.append((len(batch["img"]), any(not torch.equal(before[key], after[key]) for key in before)))
    return found


ONE_LEFT = ("DATALOADER.TRAIN_X.DROP_LAST", "False", "OPTIM.WARMUP_EPOCH", "-1")


def test_a_last_batch_of_one_image_trains_and_leaves_the_statistics_alone(
    student: Callable[..., Any],
) -> None:
    trainer = student(*ONE_LEFT, "DATALOADER.TRAIN_X.BATCH_SIZE", "17")
    before = trainer.model.prompt_learner.tuned_tensors()["image_encoder.VPT"].detach().clone()
    assert steps_on_all_batches(trainer) == [(17, True), (1, False)]
    assert not torch.equal(trainer.model.prompt_learner.tuned_tensors()["image_encoder.VPT"], before)
    trainer.train()


def test_selecting_on_test_images_is_said(
    student: Callable[..., Any], build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    def warned(trainer: Any) -> bool:
        caplog.clear()
        trainer.prepare()
        return "the model is selected on test images" in caplog.text

    best = ("TEST.FINAL_MODEL", "best_val")
    assert warned(student(*best)) and not warned(student())
    assert warned(student(*best, "DATASET.SUBSAMPLE_CLASSES", "all"))
    # the validation images are of base classes, the tested ones here are not
    assert not warned(build("CoOp", *best, "TRAINER.COOP.PREC", "fp32"))


def test_what_the_teacher_said_is_kept_by_image(student: Callable[..., Any]) -> None:
    trainer = student("INPUT.TRANSFORMS", "('normalize',)")
    trainer.prepare()
    images, paths = torch.randn(4, 3, 32, 32), ["a", "b", "c", "d"]
    expected = trainer.model.teacher_logits(images)
    for rows in ([0, 2], [3, 2, 1, 0], [1, 1]):
        found = trainer.teacher_logits(images[rows], [paths[i] for i in rows])
        torch.testing.assert_close(found, expected[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("classes", ["base", "new", "all"])
def test_labels_and_columns_of_a_test_are_those_of_its_classes(
    student: Callable[..., Any], classes: str
) -> None:
    trainer = student("DATASET.SUBSAMPLE_CLASSES", classes)
    everything = list(trainer.dm.dataset.classnames)
    for split, loader in (("val", trainer.val_loader), ("test", trainer.test_loader)):
        names = {"all": everything[3:], "base": everything[:3], "new": everything[3:]}
        expected = names["base" if split == "val" else classes]
        items = loader.dataset.data_source
        assert list(trainer.tested(split).names) == expected
        assert {item.classname for item in items} == set(expected)
        assert all(expected[item.label] == item.classname for item in items)
        trainer.start_test(split)
        all_text = trainer.model.text_features()
        rows = [everything.index(name) for name in expected]
        torch.testing.assert_close(trainer._text_features, all_text[rows])
