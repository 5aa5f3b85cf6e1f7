"""Features of a frozen image tower: computed once for all runs, and never taken for others."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import dassl.engine.features
from dassl.data import DataManager, DatasetWrapper
from dassl.data.transforms import Compose
from dassl.data.transforms.functional import to_tensor
from dassl.engine.features import FeatureFile, fingerprint
from dassl.utils import user_cache
from trainers.coop import CoOp
from trainers.core import PromptedCLIP

Build = Callable[..., Any]
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kept features, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return user_cache() / "features"


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*"))


def logits(trainer: Any) -> np.ndarray:
    """Logits of a whole evaluation."""
    trainer.test()
    return np.load(Path(trainer.output_dir) / "logits.npz")["logits"]


def encoded(trainer: Any) -> list[int]:
    """Grows by the size of each batch that goes through the image tower."""
    sizes: list[int] = []
    visual = getattr(trainer.model, "clip", trainer.model).visual
    visual.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    return sizes


def test_a_second_run_encodes_nothing(build: Build, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plain = logits(build("CoOp", *FP32, "TEST.SAVE_LOGITS", "True", "TEST.CACHE_FEATURES", "False"))
    assert files(cache) == []
    first = build("CoOp", *FP32, "TEST.SAVE_LOGITS", "True", "DATALOADER.TEST.BATCH_SIZE", "4")
    sizes = encoded(first)
    np.testing.assert_allclose(logits(first), plain, atol=1e-5)
    assert sizes == [4, 4, 1] and len(files(cache)) == 1
    kept = logits(first)
    second = build("CoOp", *FP32, "TEST.SAVE_LOGITS", "True", "DATALOADER.TEST.BATCH_SIZE", "5")
    more = encoded(second)
    np.testing.assert_allclose(logits(second), kept, atol=1e-6)
    assert sizes == [4, 4, 1] and more == [] and "are read from" in caplog.text
    # zero-shot CLIP has the same tower
    zero_shot = build("ZeroshotCLIP")
    more = encoded(zero_shot)
    zero_shot.test()
    assert more == [] and len(files(cache)) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("DATASET.SUBSAMPLE_CLASSES", "new"),
        ("INPUT.INTERPOLATION", "bicubic"),
        ("INPUT.TRANSFORMS", "('random_flip',)"),
        ("INPUT.PIXEL_MEAN", "[0.4, 0.4, 0.4]"),
        ("TRAINER.COOP.PREC", "bf16"),
        ("TEST.SPLIT", "val"),
    ],
)
def test_what_else_is_computed_is_kept_elsewhere(options: tuple[str, str], build: Build, cache: Path) -> None:
    build("CoOp", *FP32).test()
    other = build("CoOp", *FP32, *options)
    sizes = encoded(other)
    other.test()
    assert sizes and len(files(cache)) == 2


def test_other_weights_are_kept_elsewhere(build: Build, cache: Path) -> None:
    trainer = build("CoOp", *FP32)
    trainer.test()
    sizes = encoded(trainer)
    with torch.no_grad():
        trainer.model.clip.visual.proj[0, 0] += 1e-3
    trainer.test()
    assert sizes == [9] and len(files(cache)) == 2


def test_a_changed_image_is_encoded_anew(
    build: Build, data_root: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = (*FP32, "TEST.SAVE_LOGITS", "True")
    before = logits(build("CoOp", *options))
    path = next(data_root.rglob("test_0.png"))
    stat, content = path.stat(), path.read_bytes()
    try:
        pixels = np.asarray(Image.open(path))
        Image.fromarray(255 - pixels).save(path)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy that keeps times would look
        after = logits(build("CoOp", *options))
        assert (before != after).any() and "have changed" in caplog.text
        assert len(files(cache)) == 1  # in the place of the old ones
        plain = logits(build("CoOp", *options, "TEST.CACHE_FEATURES", "False"))
        np.testing.assert_allclose(after, plain, atol=1e-5)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("keep", ["True", "False"])
def test_an_image_that_changes_during_a_run(keep: str, build: Build, data_root: Path) -> None:
    """Kept features are never those of pixels that were in memory before."""
    trainer = build("CoOp", *FP32, "TEST.SAVE_LOGITS", "True", "TEST.CACHE_FEATURES", keep)
    before = logits(trainer)
    path = next(data_root.rglob("test_1.png"))
    content = path.read_bytes()
    try:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        during = logits(trainer)
        after = logits(build("CoOp", *FP32, "TEST.SAVE_LOGITS", "True"))
        plain = logits(build("CoOp", *FP32, "TEST.SAVE_LOGITS", "True", "TEST.CACHE_FEATURES", "False"))
        np.testing.assert_allclose(after, plain, atol=1e-5)
        assert np.abs(after - before).max() > 1e-3
        np.testing.assert_allclose(during, after if keep == "True" else before, atol=1e-5)
    finally:
        path.write_bytes(content)


def test_a_missing_image_is_named(build: Build) -> None:
    trainer = build("CoOp", *FP32)
    path = Path(trainer.dm.dataset.test[0].impath)
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(FileNotFoundError, match=path.name):
            trainer.test()
    finally:
        path.with_suffix(".away").rename(path)


def test_a_damaged_file_is_made_anew(build: Build, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = build("CoOp", *FP32).test()
    [file] = files(cache)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert build("CoOp", *FP32).test() == before
    assert "damaged" in caplog.text and file.read_bytes() == content


def test_a_full_disk_only_costs_time(
    build: Build, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build("CoOp", *FP32, "TEST.CACHE_FEATURES", "False").test()

    def save(tensors: dict[str, Tensor], path: str) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dassl.engine.features, "save_file", save)
    assert build("CoOp", *FP32).test() == before
    assert "CACHE_FEATURES" in caplog.text and "No space left" in caplog.text and files(cache) == []


def test_within_a_run_memory_does_where_the_disk_does_not(
    build: Build, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureFile, "write", lambda self, features: None)
    trainer = build("CoOp", *FP32)
    sizes = encoded(trainer)
    assert trainer.test() == trainer.test() and sizes == [9] and files(cache) == []


def test_an_image_that_changes_while_it_is_encoded(build: Build, data_root: Path, cache: Path) -> None:
    trainer = build("CoOp", *FP32)
    path = next(data_root.rglob("test_2.png"))
    trainer.model.clip.visual.register_forward_hook(lambda *_: os.utime(path))
    trainer.test()
    assert files(cache) == []


def test_broken_features_are_not_kept(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(image)
    file = FeatureFile(tmp_path / "features", ["x"], [str(image)])
    file.write(torch.tensor([[float("nan")]]))
    assert file.read() is None and not file.path.exists()
    file.write(torch.tensor([[1.0]]))
    assert torch.equal(file.read(), torch.tensor([[1.0]]))  # type: ignore[arg-type]


class OwnFeatures(PromptedCLIP):
    def image_features(self, images: Tensor) -> Tensor:
        return super().image_features(images) + self.prompt_learner.ctx.mean()


class OwnTower(CoOp):
    def assemble(self, clip_model: Any, learner: Any) -> PromptedCLIP:
        return OwnFeatures(clip_model, learner)


class OwnInference(CoOp):
    def model_inference(self, images: Tensor) -> Tensor:
        return -super().model_inference(images)


class OwnEncoding(CoOp):
    def test_image_features(self, images: Tensor) -> Tensor:
        return super().test_image_features(images.flip(-1))


class OwnBatches(CoOp):
    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        images, labels = super().parse_batch_test(batch)
        return images.flip(-1), labels


class OwnTransform(CoOp):
    def build_data_manager(self) -> DataManager:
        return DataManager(self.cfg, custom_tfm_test=Compose([lambda img: to_tensor(img.resize((32, 32)))]))


class Mirror:
    """A transform that is an object, as torchvision's are."""

    def __call__(self, img: Image.Image) -> Tensor:
        return to_tensor(img.resize((32, 32)).transpose(Image.Transpose.FLIP_LEFT_RIGHT))


class OwnObject(CoOp):
    def build_data_manager(self) -> DataManager:
        return DataManager(self.cfg, custom_tfm_test=Compose([Mirror()]))


class OwnStep(CoOp):
    def test_step(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        logits, labels = super().test_step(batch)
        return -logits, labels


class Mirrored(DatasetWrapper):
    def _image(self, idx: int) -> Image.Image:
        return super()._image(idx).transpose(Image.Transpose.FLIP_LEFT_RIGHT)


class OwnWrapper(CoOp):
    def build_data_manager(self) -> DataManager:
        return DataManager(self.cfg, dataset_wrapper=Mirrored)


@pytest.mark.parametrize(
    "trainer",
    [OwnTower, OwnInference, OwnEncoding, OwnBatches, OwnStep, OwnTransform, OwnObject, OwnWrapper],
)
def test_methods_that_compute_otherwise_are_left_alone(
    trainer: type[CoOp], build: Build, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.build_trainer", trainer)
    build("CoOp", *FP32).test()
    assert files(cache) == []


def test_a_method_may_say_anew_that_its_tower_is_frozen(
    build: Build, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vouched(OwnInference):
        def frozen_image_tower(self) -> nn.Module | None:
            return super().frozen_image_tower()

    monkeypatch.setattr("train.build_trainer", Vouched)
    build("CoOp", *FP32).test()
    assert len(files(cache)) == 1


def test_other_code_computes_anew(build: Build, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("CoOp", *FP32).test()
    monkeypatch.setattr(dassl.engine.features, "code_hash", lambda modules: "other")
    build("CoOp", *FP32).test()
    assert len(files(cache)) == 2


def test_tuned_image_towers_are_left_alone(build: Build, cache: Path) -> None:
    build("MaPLe", "TRAINER.MAPLE.PREC", "fp32").test()
    assert files(cache) == []


def test_a_fingerprint_tells_names_types_shapes_and_values() -> None:
    modules = [nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(2, 3).half(), nn.BatchNorm1d(3)]
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.zero_()
    prints = [fingerprint(module) for module in modules]
    assert len(set(prints)) == 4 and fingerprint(modules[0]) == prints[0]
    with torch.no_grad():
        modules[0].bias[2] = 1e-7
    assert fingerprint(modules[0]) != prints[0]


def test_training_does_not_depend_on_what_is_kept(build: Build, cache: Path, tmp_path: Path) -> None:
    """An evaluation takes random numbers, which the order of training images depends on."""
    options = (*FP32, "TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", "3", "OPTIM.WARMUP_EPOCH", "-1")
    contexts = []
    for number, keep in enumerate(("False", "True", "True")):
        trainer = build("CoOp", *options, "TEST.CACHE_FEATURES", keep, output=tmp_path / str(number))
        trainer.train()
        contexts.append(torch.load(tmp_path / str(number) / "prompt_learner/model.pth.tar-3")["state_dict"])
    assert len(files(cache)) == 2  # validation and test images
    for context in contexts[1:]:
        torch.testing.assert_close(context["ctx"], contexts[0]["ctx"], atol=1e-6, rtol=0)
