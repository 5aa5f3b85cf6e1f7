"""A SLURM of the tests' own, started once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.toy import Toy, why_not
from tests.experiments.test_local import BUSY
from tests.scripts.checkout import REPOSITORY, Checkout


def start(folder: Path, gres: str) -> Iterator[Toy]:
    if reason := why_not():
        pytest.skip(reason)
    toy = Toy(folder, gres)
    yield toy
    toy.stop()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """4 GPUs that are shared by 8 shards."""
    yield from start(tmp_path_factory.mktemp("slurm") / "toy", "gpu:4,shard:8")


@pytest.fixture(scope="session")
def toy_without_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    yield from start(tmp_path_factory.mktemp("slurm") / "plain", "gpu:4")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """One whose path a shell or SLURM could misread."""
    checkout = Checkout(tmp_path / "of 100 %j")
    with (checkout.root / "train.py").open("a") as file:
        file.write(BUSY)
    shutil.copy(REPOSITORY / "parse_test_res.py", checkout.root)
    shutil.copytree(REPOSITORY / "reporting", checkout.root / "reporting")
    shutil.copytree(REPOSITORY / "configs/clusters", checkout.root / "configs/clusters")
    (checkout.root / "configs/trainers/ZeroshotCLIP/demo.yaml").touch()
    return checkout
