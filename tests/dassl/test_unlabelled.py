"""Training on labelled and unlabelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerXU, build_trainer
from dassl.modeling import BACKBONE_REGISTRY
from dassl.modeling.backbone import Backbone
from tests.dassl.tiny import tiny_cfg

N_X, N_U = 6, 14  # 3 and 7 mini-batches of 2


class Pixels(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self._out_features = 3
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * self.scale


class Halves(DatasetBase):
    def __init__(self, cfg: Any) -> None:
        items = [Datum(f"{cfg.DATASET.ROOT}/{n}.png", n % 2, classname="ab"[n % 2]) for n in range(N_X + N_U)]
        super().__init__(train_x=items[:N_X], train_u=items[N_X:], test=items)


class Consistent(TrainerXU):
    """In the way of other projects: the default model, a loss on both kinds of images."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.steps: list[tuple[list[int], list[int]]] = []
        self.views: list[torch.Tensor] = []

    def forward_backward(self, batch_x: Any, batch_u: Any) -> dict[str, float]:
        self.steps.append((batch_x["index"].tolist(), batch_u["index"].tolist()))
        input_x, label_x, input_u = self.parse_batch_train(batch_x, batch_u)
        self.views += list(input_x)
        logits = self.model(input_x)
        loss_x = torch.nn.functional.cross_entropy(logits, label_x)
        loss_u = self.model(input_u).softmax(1).prod(1).mean()
        self.model_backward_and_update(loss_x + loss_u)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss_x": loss_x.item(), "loss_u": loss_u.item()}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASET_REGISTRY._objects, "Halves", Halves)
    monkeypatch.setitem(TRAINER_REGISTRY._objects, "Consistent", Consistent)
    monkeypatch.setitem(BACKBONE_REGISTRY._objects, "pixels", lambda pretrained: Pixels())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for n in range(N_X + N_U):
        Image.fromarray(rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(folder / f"{n}.png")
    return folder


def trainer(output: Path, images: Path, *options: object) -> Any:
    settings = ("DATASET.NAME", "Halves", "TRAINER.NAME", "Consistent", "MODEL.BACKBONE.NAME", "pixels")
    settings += ("DATALOADER.TRAIN_X.BATCH_SIZE", 2, "OPTIM.MAX_EPOCH", 1)
    return build_trainer(tiny_cfg(output, images, *settings, *options))


@pytest.mark.parametrize(("count", "steps"), [("train_x", 3), ("train_u", 7), ("smaller_one", 3)])
@pytest.mark.parametrize("workers", [0, 1])
def test_steps_of_an_epoch(count: str, steps: int, workers: int, images: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, images, "TRAIN.COUNT_ITER", count, "DATALOADER.NUM_WORKERS", workers)
    torch.manual_seed(3)
    run.train()
    assert run.num_batches == len(run.steps) == steps

    # the same order as of torch's own loaders, gone through as Dassl does
    torch.manual_seed(3)
    loaders = [
        DataLoader(range(n), 2, sampler=RandomSampler(range(n)), drop_last=True, num_workers=workers)
        for n in (N_X, N_U)
    ]
    passes, expected = [iter(loader) for loader in loaders], []
    for _ in range(steps):
        pair = []
        for i in range(2):
            batch = next(passes[i], None)
            if batch is None:
                passes[i] = iter(loaders[i])
                batch = next(passes[i])
            pair.append(batch.tolist())
        expected.append(tuple(pair))
    assert run.steps == expected


def test_each_pass_of_an_epoch_shows_other_views(images: Path, tmp_path: Path) -> None:
    options = ("TRAIN.COUNT_ITER", "train_u", "INPUT.TRANSFORMS", ("random_resized_crop",))
    runs = [trainer(tmp_path / name, images, *options) for name in "ab"]
    for run in runs:
        torch.manual_seed(3)
        run.train()
    first = runs[0]
    order = [index for indices, _ in first.steps for index in indices]
    assert len(order) == 14 and all(order.count(index) in (2, 3) for index in range(N_X))
    for index in range(N_X):
        views = [view for i, view in zip(order, first.views, strict=True) if i == index]
        assert not torch.equal(views[0], views[1])
    assert all(torch.equal(a, b) for a, b in zip(first.views, runs[1].views, strict=True))


def test_the_default_model_learns_and_is_kept(images: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", images)
    before = run.model.classifier.weight.clone()
    run.train()
    assert not torch.equal(run.model.classifier.weight, before)
    stored = tmp_path / "run" / "model" / "model.pth.tar-1"
    again = trainer(tmp_path / "other", images, "MODEL.INIT_WEIGHTS", str(stored))
    assert torch.equal(again.model.classifier.weight, run.model.classifier.weight)


def test_settings_of_the_unlabelled_loader(images: Path, tmp_path: Path) -> None:
    own = ("DATALOADER.TRAIN_U.SAME_AS_X", False, "DATALOADER.TRAIN_U.BATCH_SIZE", 5)
    run = trainer(tmp_path, images, *own)
    run.train()
    assert [(len(x), len(u)) for x, u in run.steps] == [(2, 5)] * 3


def test_wrong_settings(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"COUNT_ITER is 'train_y'; it must be .* Did you mean 'train_\w'"):
        trainer(tmp_path, images, "TRAIN.COUNT_ITER", "train_y")
    with pytest.raises(ValueError, match="'resnet18' is not registered in the BACKBONE registry"):
        trainer(tmp_path, images, "MODEL.BACKBONE.NAME", "resnet18")
    plain = type("Plain", (Halves,), {"train_u": None})
    monkeypatch.setitem(DATASET_REGISTRY._objects, "Halves", plain)
    run = trainer(tmp_path, images)
    with pytest.raises(ValueError, match=r"DATASET\.NAME 'Halves' has no unlabelled images"):
        run.train()
    assert list(tmp_path.iterdir()) == []
