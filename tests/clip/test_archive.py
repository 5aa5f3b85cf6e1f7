"""TorchScript archives: the tensors of trusted ones, and nothing run of any."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import clip
from clip.archive import is_archive, read_archive

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.numbers: list[int] = [1, 2]
        self.rates: list[float] = [0.5]
        self.kept: dict[str, int] = {"a": 1}
        self.tensors: list[Tensor] = [torch.ones(2)]

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) * self.numbers[0] * self.rates[0] * self.kept["a"] + self.tensors[0].sum()


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.layers = Inner(), nn.ModuleList([nn.Linear(3, 4), nn.Linear(3, 4).half()])
        self.layers[1].weight = nn.Parameter(self.layers[1].weight.t())  # not contiguous
        self.register_buffer("input_resolution", torch.tensor(32))
        self.register_buffer("part", torch.arange(12.0).reshape(3, 4)[1:, ::2])

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.layers[0](x)) + self.part.sum() + self.input_resolution


def test_the_tensors_are_those_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "archive.pt"
    torch.jit.script(Outer()).save(str(path))
    assert is_archive(path)
    found, expected = read_archive(path), torch.jit.load(str(path)).state_dict()
    assert found.keys() == expected.keys() and len(found) == 11
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


class Harmful(nn.Module):
    """Would map a file of the reader's, and write to it, when it is restored."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        self.weight = torch.from_file(self.path, shared=True, size=4).fill_(7.0)


def test_an_archive_s_own_code_is_not_run(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "harmful.pt"
    victim.write_bytes(b"0123456789abcdef")
    torch.jit.script(Harmful(str(victim))).save(str(path))
    with pytest.raises(ValueError, match="objects or code beyond tensors"):
        clip.load(path, activation="quick_gelu")
    assert victim.read_bytes() == b"0123456789abcdef"


def rewritten(
    path: Path, index: bytes | None = None, method: int = zipfile.ZIP_STORED, cut: bool = False
) -> Path:
    """The archive with another data.pkl, compressed, or with short storages."""
    target = path.with_name("rewritten.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", method) as out:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/data.pkl") and index is not None:
                content = index
            out.writestr(name, content[:8] if cut and "/data/" in name else content)
    return target


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


def test_what_else_is_in_an_index_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "archive.pt"
    torch.jit.script(Outer()).save(str(path))
    with pytest.raises(pickle.UnpicklingError, match="exec is no tensor"):
        read_archive(rewritten(path, pickle.dumps(Runs(), protocol=2)))
    with pytest.raises(ValueError, match="is compressed"):
        read_archive(rewritten(path, method=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="has more numbers than its"):
        read_archive(rewritten(path, cut=True))
    for damaged in (rewritten(path, b"\x80\x02"), rewritten(path, cut=True)):
        with pytest.raises(ValueError, match="is no readable CLIP file"):
            clip.load(damaged)
