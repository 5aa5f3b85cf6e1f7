"""Images are decoded once in a run, whoever loads them, and memory stays within its limit."""

from __future__ import annotations

import errno
import logging
import mmap
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import dassl.data.cache
from dassl.data import DataManager
from dassl.data.cache import ImageCache, ResizedImages
from dassl.utils import read_image
from tests.dassl.tiny import tiny_cfg, tiny_trainer, write_images

BYTES = 14 * 12 * 4  # of a decoded image
RESIZED = 8 * 8 * 3 + 1


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """decoded() -> the names of the images that were decoded since it was called last, in any process."""
    log = tmp_path / "decoded.txt"
    log.touch()

    def read(path: str) -> Image.Image:
        with log.open("a") as file:
            file.write(f"{Path(path).name}\n")
        return read_image(path)

    def since() -> list[str]:
        names = log.read_text().split()
        log.write_text("")
        return sorted(names)

    monkeypatch.setattr(dassl.data.cache, "read_image", read)
    return since


def pass_over(loader: Any) -> torch.Tensor:
    return torch.cat([batch["img"] for batch in loader])


def test_decoded_images_are_bounded(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [str(path) for path in sorted(images.iterdir())]
    cache = ImageCache(5.5 * BYTES / 1e6)
    with caplog.at_level(logging.INFO):
        cache.prefetch(paths)
    assert len(cache) == 5 and cache.size == 5 * BYTES and "CACHE_MB" in caplog.text
    assert cache.load(paths[-1]).tobytes() == read_image(paths[-1]).tobytes()
    assert cache.load(paths[0]) is cache.load(paths[0])
    with pytest.raises(ValueError, match="CACHE_MB"):
        ImageCache(-1)


@pytest.mark.parametrize("workers", [0, 1])
def test_test_images_are_decoded_once(images: Path, workers: int, decoded: Callable[[], list[str]]) -> None:
    plain = DataManager(tiny_cfg("out", images, "DATALOADER.CACHE_MB", 0))
    expected = pass_over(plain.test_loader)
    assert decoded() == sorted(Path(item.impath).name for item in plain.dataset.test)
    assert torch.equal(pass_over(plain.test_loader), expected) and len(decoded()) == 9  # no memory: again

    options = ("DATALOADER.NUM_WORKERS", workers, "DATALOADER.TEST.BATCH_SIZE", 4)
    manager = DataManager(tiny_cfg("out", images, *options))
    assert torch.equal(pass_over(manager.test_loader), expected) and len(decoded()) == 9
    assert torch.equal(pass_over(manager.test_loader), expected) and decoded() == []


def test_an_evaluation_each_epoch_decodes_once(
    images: Path, tmp_path: Path, decoded: Callable[[], list[str]]
) -> None:
    options = ("TEST.FINAL_MODEL", "best_val", "INPUT.TRANSFORMS", ("random_flip", "normalize"))
    tiny_trainer(tmp_path / "run", images, *options).train()
    assert len(decoded()) == 18 + 6 + 9  # training, validation and test images
    assert len((tmp_path / "run" / "results.jsonl").read_text().splitlines()) == 4 + 1  # epochs, and the end


@pytest.mark.parametrize("workers", [0, 1])
def test_training_images_are_decoded_once(
    images: Path, workers: int, decoded: Callable[[], list[str]]
) -> None:
    manager = DataManager(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", workers))
    for epoch in range(2):
        manager.set_epoch(epoch)
        pass_over(manager.train_loader_x)
    assert len(decoded()) == 18
    # no random crop: what is kept is the resized image
    options = ("DATALOADER.NUM_WORKERS", workers, "INPUT.TRANSFORMS", ("random_flip", "normalize"))
    options += ("DATALOADER.TRAIN_X.DROP_LAST", False)
    manager = DataManager(tiny_cfg("out", images, *options))
    first = [pass_over(manager.train_loader_x) for _ in range(2)]
    assert len(decoded()) == 18 and manager.cache.size == 18 * RESIZED
    assert not torch.equal(*first)  # another order, other flips


def test_both_kinds_share_the_limit(images: Path, decoded: Callable[[], list[str]]) -> None:
    manager = DataManager(tiny_cfg("out", images))
    manager.cache.limit = 18 * BYTES + 4 * RESIZED + 1
    pass_over(manager.train_loader_x)
    expected = pass_over(manager.test_loader)
    assert manager.cache.size == 18 * BYTES + 4 * RESIZED
    assert torch.equal(pass_over(manager.test_loader), expected)
    assert len(decoded()) == 18  # here the test images are training images as well


def test_resized_images_beyond_the_room_are_not_kept() -> None:
    cache = ImageCache(2 * RESIZED / 1e6)
    kept = cache.resized(5, (8, 8))
    img = Image.effect_noise((8, 8), 50).convert("RGB")
    assert len(kept) == 2 and kept.load(1) is None
    kept.store(1, img)
    kept.store(4, img)
    found = kept.load(1)
    assert found is not None and found.tobytes() == img.tobytes() and kept.load(4) is None
    kept.store(0, img.resize((4, 4)))
    kept.store(0, img.convert("L"))
    assert kept.load(0) is None
    assert len(cache.resized(5, (8, 8))) == 0


def test_without_memory_images_are_decoded_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: int, size: int) -> mmap.mmap:
        if size > 1:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return mmap.mmap(-1, size)

    monkeypatch.setattr(dassl.data.cache, "mmap", SimpleNamespace(mmap=refuse))
    cache = ImageCache(7)
    assert len(cache.resized(5, (8, 8))) == 0 and cache.size == 0
    assert "DATALOADER.CACHE_MB, now 7" in caplog.text and "Cannot allocate memory" in caplog.text


@pytest.mark.parametrize("transforms", [("random_resized_crop", "normalize"), ("normalize",)])
def test_loaders_travel_to_processes_that_are_started_afresh(
    images: Path, transforms: tuple[str, ...]
) -> None:
    options = ("INPUT.TRANSFORMS", transforms, "DATALOADER.RETURN_IMG0", "normalize" not in transforms[0])
    manager = DataManager(tiny_cfg("out", images, *options))
    manager.set_epoch(0)
    for loader in (manager.train_loader_x, manager.test_loader):
        pass_over(loader)
        there = pickle.loads(pickle.dumps(loader.dataset))
        assert torch.equal(there[3]["img"], loader.dataset[3]["img"])


def test_processes_that_are_started_afresh_get_no_images(images: Path) -> None:
    cache = ImageCache(1)
    paths = [str(path) for path in sorted(images.iterdir())]
    cache.prefetch(paths)
    copy = pickle.loads(pickle.dumps(cache))
    assert len(copy) == 0 and copy.load(paths[0]).tobytes() == cache.load(paths[0]).tobytes()
    resized: ResizedImages = pickle.loads(pickle.dumps(cache.resized(3, (8, 8))))
    resized.store(0, Image.new("RGB", (8, 8)))
    assert resized.load(0) is None


def test_photos_are_turned_upright_where_the_settings_say_so(tmp_path: Path) -> None:
    write_images(tmp_path)
    turned, exif = Image.new("RGB", (6, 4)), Image.Exif()
    exif[274] = 6
    path = str(tmp_path / "turned.png")
    turned.save(path, exif=exif)
    assert read_image(path).size == (6, 4) and read_image(path, upright=True).size == (4, 6)
    for upright, size in ((False, (6, 4)), (True, (4, 6))):
        settings = (tmp_path / "out", tmp_path, "INPUT.EXIF_ORIENTATION", str(upright))
        cache = DataManager(tiny_cfg(*settings)).cache
        assert cache.load(path).size == size  # decoded when asked for
        cache.prefetch([path])
        assert cache.load(path).size == size  # from memory
