"""What other people's trainers rely on: loaders of their own, settings of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from dassl.data import DataManager, DatasetWrapper, build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import read_image
from tests.dassl.tiny import TinyCoOp, tiny_cfg, write_images


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


class OwnLoading(TinyCoOp):
    """Builds its loaders itself, as trainers for several versions of Dassl do, and keeps no ``dm``."""

    def build_data_loader(self) -> None:
        manager = DataManager(self.cfg)
        self.train_loader_x = manager.train_loader_x
        self.val_loader = manager.val_loader
        self.test_loader = manager.test_loader
        self.num_classes = manager.num_classes
        if self.cfg.OUTPUT_DIR.endswith("older"):
            self.dm = manager  # and no lab2cname
        else:
            self.lab2cname = manager.lab2cname


@pytest.mark.parametrize("kind", ["newer", "older"])
def test_a_trainer_may_build_its_loaders(
    kind: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRAINER_REGISTRY._objects, "OwnLoading", OwnLoading)
    output = tmp_path / kind
    build_trainer(tiny_cfg(output, images, "TRAINER.NAME", "OwnLoading", "OPTIM.MAX_EPOCH", 1)).train()
    result = json.loads((output / "results.jsonl").read_text())
    assert result["dataset"] == "TinyImages" and result["metrics"]["total"] == 9


class OwnWrapper(DatasetWrapper):
    """Builds its items itself, of the parts that Dassl's wrapper has."""

    def __getitem__(self, idx: int) -> dict[str, Any]:
        img0 = read_image(self.data_source[idx].impath)
        views = self._transform_image(self.transform, img0)
        return {"img": views, "img0": self.to_tensor(img0), "k": self.k_tfm, "more": self.return_img0}


def test_a_subclass_of_the_wrapper(images: Path) -> None:
    cfg = tiny_cfg("out", images, "DATALOADER.K_TRANSFORMS", 2)
    data = [Datum(str(images / "0_0.png"))]
    loader = build_data_loader(cfg, data_source=data, tfm=build_transform(cfg), dataset_wrapper=OwnWrapper)
    torch.manual_seed(0)
    item = loader.dataset[0]
    assert len(item["img"]) == item["k"] == 2 and not torch.equal(*item["img"]) and not item["more"]
    plain = build_transform(cfg, choices=["normalize"])
    assert plain is not None and torch.equal(item["img0"], plain(read_image(data[0].impath)))
