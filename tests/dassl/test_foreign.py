"""What other people's trainers rely on: loaders of their own, settings of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from dassl.data import DataManager, DatasetWrapper
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from tests.dassl.tiny import tiny_cfg, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def wrapped(images: Path, *options: object) -> DatasetWrapper:
    cfg = tiny_cfg("out", images, *options)
    data = [Datum(str(images / f"0_{n}.png")) for n in range(4)]
    return DatasetWrapper(cfg, data, transform=build_transform(cfg), is_train=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_ones_own_draws_anew_in_every_pass(images: Path, workers: int) -> None:
    loader = DataLoader(wrapped(images), batch_size=4, num_workers=workers)
    torch.manual_seed(0)
    first, second = (next(iter(loader))["img"] for _ in range(2))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(0)  # of torch's global random numbers, as in Dassl
    assert torch.equal(next(iter(loader))["img"], first)


def test_views_of_an_item_draw_anew_too(images: Path) -> None:
    wrapper = wrapped(images, "DATALOADER.K_TRANSFORMS", 2)
    torch.manual_seed(0)
    views = [*wrapper[0]["img"], *wrapper[0]["img"]]
    assert len({view.sum().item() for view in views}) == 4


def test_the_epoch_fixes_the_draws_once_it_is_set(images: Path) -> None:
    wrapper = wrapped(images)
    wrapper.set_epoch(0)
    before = torch.get_rng_state()
    first = wrapper[2]["img"]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, wrapper[2]["img"])
    manager = DataManager(tiny_cfg("out", images))
    manager.set_epoch(0)  # both give what the first epoch of a run has always shown
    shown = manager.train_loader_x.dataset
    assert torch.equal(shown[2]["img"], first) and shown.data_source[2].impath.endswith("0_2.png")
