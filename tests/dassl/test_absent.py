"""Settings that a tree of somebody else's lacks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from yacs.config import CfgNode as CN

from dassl.config import complete, get_cfg_default
from dassl.config.node import flatten
from dassl.data import DataManager, DatasetWrapper, build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.engine import build_trainer
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from tests.dassl.tiny import tiny_cfg, write_images

OURS = (
    "TRAIN.TENSORBOARD",
    "TRAIN.LOGGER",
    "TEST.SAVE_LOGITS",
    "TEST.CACHE_FEATURES",
    "DATALOADER.CACHE_MB",
    "DATALOADER.TRAIN_X.DROP_LAST",
    "DATASET.SUBSAMPLE_CLASSES",
    "DATASET.TEMPLATE",
    "MODEL.BACKBONE.PATH",
    "MODEL.BACKBONE.ACTIVATION",
    "MODEL.BACKBONE.HEAD_WIDTH",
)
OFTEN_ABSENT = (
    "DATALOADER.TRAIN_U",
    "TRAIN.COUNT_ITER",
    "DATALOADER.RETURN_IMG0",
    "TEST.COMPUTE_CMAT",
    "VERSION",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def foreign(output: Path | str, images: Path, *options: object, without: tuple[str, ...]) -> CN:
    """A frozen tree of plain nodes that has no settings ``without``."""
    cfg = CN(tiny_cfg(output, images, *options))
    cfg.defrost()
    for key in without:
        *groups, leaf = key.split(".")
        node = cfg
        for group in groups:
            node = node[group]
        del node[leaf]
    cfg.freeze()
    return cfg


def test_what_is_absent_has_its_default(caplog: pytest.LogCaptureFixture) -> None:
    cfg = CN({"OPTIM": CN({"LR": 7.0}), "OWN": 3, "TRAINER": CN({"NAME": "X"})})
    cfg.freeze()
    with caplog.at_level(logging.INFO):
        complete(cfg)
    assert "OPTIM.NAME" in caplog.text and "DATALOADER" in caplog.text and "OPTIM.LR," not in caplog.text
    assert (cfg.OPTIM.LR, cfg.OWN, cfg.TRAINER.NAME) == (7.0, 3, "X")
    defaults = dict(flatten(get_cfg_default(for_others=False)))
    found = dict(flatten(cfg))
    assert {key for key in defaults if defaults[key] != found[key]} == {"OPTIM.LR", "TRAINER.NAME"}
    with pytest.raises(AttributeError):
        cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 1  # frozen as the rest
    caplog.clear()
    before = cfg.dump()
    complete(cfg)
    assert cfg.dump() == before and caplog.messages == []


def test_defaults_are_not_shared() -> None:
    first, second = CN(), CN()
    complete(first)
    complete(second)
    first.DATALOADER.TRAIN_X.BATCH_SIZE = 1
    first.INPUT.PIXEL_MEAN.append(0.5)
    assert second.DATALOADER.TRAIN_X.BATCH_SIZE == 32 and len(second.INPUT.PIXEL_MEAN) == 3
    complete(None)
    complete(object())  # no tree: left alone


@pytest.mark.parametrize("key", (*OURS, *OFTEN_ABSENT))
def test_a_run_without_a_setting(key: str, images: Path, tmp_path: Path) -> None:
    trainer = build_trainer(foreign(tmp_path, images, "OPTIM.MAX_EPOCH", 1, without=(key,)))
    trainer.train()
    assert (tmp_path / "results.jsonl").exists()


def test_the_same_run_as_with_the_defaults_given(images: Path, tmp_path: Path) -> None:
    weights = []
    for name, cfg in (
        ("whole", tiny_cfg(tmp_path / "whole", images)),
        ("lacking", foreign(tmp_path / "lacking", images, without=(*OURS, *OFTEN_ABSENT))),
    ):
        torch.manual_seed(1)
        build_trainer(cfg).train()
        weights.append(
            torch.load(tmp_path / name / "prompt_learner" / "model.pth.tar-4")["state_dict"]["ctx"]
        )
    assert torch.equal(*weights) and weights[0].any()


def test_every_door_fills_in(images: Path) -> None:
    """Other people's scripts call these without a trainer."""
    data = [Datum(str(images / "0_0.png"))]

    def lacking() -> CN:
        return foreign("out", images, without=("DATALOADER", "TEST", "VERBOSE", "OPTIM"))

    assert DataManager(foreign("out", images, without=("DATALOADER", "TEST"))).num_classes == 3
    assert len(build_data_loader(lacking(), data_source=data, batch_size=1)) == 1
    assert DatasetWrapper(lacking(), data)[0]["label"] == 0
    cfg = lacking()
    cfg.INPUT.defrost()
    del cfg.INPUT["NO_TRANSFORM"]
    assert build_transform(cfg) is not None
    assert build_evaluator(lacking()) is not None
    optimizer = build_optimizer(nn.Linear(1, 1), CN({"NAME": "sgd", "LR": 1.0}))
    build_lr_scheduler(optimizer, CN({"LR_SCHEDULER": "cosine"}))
