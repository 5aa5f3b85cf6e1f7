"""The tensors of a TorchScript archive, such as OpenAI's files of CLIP, without running what is in it.

An archive is a zip of code, of raw storages (``data/0``, ``data/1``, ...) and of ``data.pkl``, which says
whose tensors they are. ``torch.jit.load`` runs code of it, such as a ``__setstate__``; this does not.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

# what the archive's plain values are wrapped in
_PLAIN = {
    **dict.fromkeys(("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"), list),
    "restore_type_tag": lambda value, kind: value,
}


class Module:
    """Stands for a module of the archive; its attributes are what the module had."""

    def __setstate__(self, attributes: Any) -> None:
        if not isinstance(attributes, dict):
            raise pickle.UnpicklingError("a module would restore itself by code of its own")
        vars(self).update(attributes)


class Storage:
    """Numbers of the archive, of which tensors are views."""

    def __init__(self, content: bytearray, dtype: torch.dtype) -> None:
        self.numbers = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)

    def tensor(self, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any) -> Tensor:
        """The view that the archive describes; torch refuses one that leaves the storage."""
        if math.prod(size) > len(self.numbers):
            raise ValueError(f"a tensor of shape {tuple(size)} has more numbers than its {len(self.numbers)}")
        return self.numbers.as_strided(size, stride, offset)


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_archive(path: Path) -> dict[str, Tensor]:
    """Every tensor that a module of the archive has, under its dotted name.

    Raises:
        pickle.UnpicklingError: it holds something else than modules, tensors and plain values.
        ValueError: a tensor's numbers are fewer than it has, or compressed.
        KeyError: they are not there.
    """
    with zipfile.ZipFile(path) as archive:
        (index,) = [
            name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")
        ]
        root = _Reader(archive, index.removesuffix(".pkl")).load()
    return dict(_tensors(root, "", set()))


def _tensors(owner: Any, prefix: str, above: set[int]) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(owner, Module) or id(owner) in above:
        return
    for name, value in vars(owner).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        else:
            yield from _tensors(value, f"{prefix}{name}.", {*above, id(owner)})


class _Reader(pickle.Unpickler):
    """Knows modules, tensors and plain values; everything else ends the reading.

    Args:
        folder: of the storages, within the archive.
    """

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}.pkl")))
        self.archive, self.folder = archive, folder
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return Module
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return Storage.tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        if module == "torch.jit._pickle" and name in _PLAIN:
            return _PLAIN[name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no tensor and no module")

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"{kind!r} is no storage")
        if key not in self.storages:
            entry = self.archive.getinfo(f"{self.folder}/{key}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"{entry.filename} is compressed, which torch never does")
            content = bytearray(entry.file_size)
            with self.archive.open(entry) as file:
                if file.readinto(content) != entry.file_size:  # type: ignore[attr-defined]
                    raise ValueError(f"{entry.filename} is cut off")
            self.storages[key] = Storage(content, dtype)
        return self.storages[key]
