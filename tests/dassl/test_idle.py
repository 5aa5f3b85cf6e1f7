"""Settings that do nothing are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import train
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.idle import warn_of_idle_settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(
    path for part in ("datasets", "trainers") for path in (ROOT / "configs" / part).rglob("*.yaml")
)


def settings(*options: Any, trainer: str = "CoOp", dataset: str = "EuroSAT", files: str = "") -> Any:
    words = ["--trainer", trainer, *files.split(), "DATASET.NAME", dataset, *map(str, options)]
    return train.setup_cfg(train.parse_arguments(words))


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("MODEL.HEAD.NAME", "linear", "has no effect on CoOp"),
        ("MODEL.HEAD.BN", "False", "has no effect on CoOp"),
        ("MODEL.BACKBONE.PRETRAINED", "False", "has no effect on CoOp"),
        ("DATASET.TEMPLATE", "a {}.", "has no effect on CoOp"),
        ("DATASET.NUM_LABELED", 100, "has no effect on CoOp"),
        ("DATASET.VAL_PERCENT", 0.2, "has no effect on CoOp"),
        ("DATASET.ALL_AS_UNLABELED", "True", "has no effect on CoOp"),
        ("DATASET.STL10_FOLD", 1, "has no effect on CoOp"),
        ("DATASET.CIFAR_C_LEVEL", 2, "has no effect on CoOp"),
        ("TRAIN.COUNT_ITER", "train_u", "has no effect on CoOp"),
        ("DATALOADER.RETURN_IMG0", "True", "has no effect on CoOp"),
        ("DATALOADER.TRAIN_U.BATCH_SIZE", 7, "has no effect on CoOp"),
        ("DATALOADER.TRAIN_U.SAME_AS_X", "False", "has no effect on CoOp"),
        ("DATASET.TARGET_DOMAINS", "('art',)", "has no effect on EuroSAT, which has no domains"),
        ("DATASET.SOURCE_DOMAINS", "('art',)", "has no effect on EuroSAT, which has no domains"),
        ("DATALOADER.TRAIN_X.N_DOMAIN", 2, "has no effect on the sampler RandomSampler"),
        ("DATALOADER.TRAIN_X.N_INS", 2, "has no effect on the sampler RandomSampler"),
    ],
)
def test_each_is_warned_about(option: str, value: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_idle_settings(settings(option, value), ())
    assert caplog.messages == [f"{option} {reason}"]


def test_nothing_is_said_of_defaults(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_idle_settings(settings(), ())
    # a default that is given again, as a list instead of a tuple
    warn_of_idle_settings(settings("DATASET.TARGET_DOMAINS", "[]", "DATALOADER.TRAIN_X.N_INS", 16), ())
    assert caplog.messages == []


def test_what_is_used_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_idle_settings(settings("DATASET.TEMPLATE", "a {}."), ("DATASET.TEMPLATE",))
    sampler = ("DATALOADER.TRAIN_X.SAMPLER", "RandomClassSampler", "DATALOADER.TRAIN_X.N_INS", 2)
    warn_of_idle_settings(settings(*sampler), ())
    for name in ("RandomDomainSampler", "SeqDomainSampler"):
        domains = ("DATALOADER.TRAIN_X.SAMPLER", name, "DATALOADER.TRAIN_X.N_DOMAIN", 2)
        warn_of_idle_settings(settings(*domains), ())
    assert caplog.messages == []


def test_a_data_set_with_domains_uses_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Office(DatasetBase):
        domains = ("art", "photo")

    monkeypatch.setitem(DATASET_REGISTRY._objects, "Office", Office)
    cfg = settings("DATASET.SOURCE_DOMAINS", "('art',)", dataset="Office")
    warn_of_idle_settings(cfg, ())
    assert caplog.messages == []


@pytest.mark.parametrize("path", CONFIGS, ids=[str(path.relative_to(ROOT / "configs")) for path in CONFIGS])
def test_no_file_of_ours_sets_anything_idle(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = path.parent.name if path.parent.parent.name == "trainers" else "CoOp"
    used = TRAINER_REGISTRY.get(trainer).READS
    warn_of_idle_settings(settings(trainer=trainer, files=f"--config-file {path}"), used)
    assert caplog.messages == []
