"""A SLURM of the tests' own, started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.toy import Toy, why_not


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
