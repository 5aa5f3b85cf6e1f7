"""Upstream's pickled selections, read without running any code that they may hold."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.split_file import Item

_DATUM = ("dassl.data.datasets.base_dataset", "Datum")


class _PickledDatum:
    """What Dassl's ``Datum`` is read as: attributes and nothing that runs."""

    _impath: str
    _label: int
    _classname: str


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _DATUM:
            return _PickledDatum
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, and only Dassl's Datum is allowed")


def read_pickled(path: Path, parts: Mapping[str, Sequence[Item]]) -> dict[str, list[Item]]:
    """The items that upstream stored in a pickle of ``{"train": [Datum, ...], ...}``.

    Only the order and the choice come from the file; its absolute paths may be those of another machine.

    Args:
        path: the pickle.
        parts: the items of each part that may occur in it; other parts are left out.

    Raises:
        ValueError: no such pickle, it refers to anything but ``Datum``, or an image, label or class name
            differs from those in ``parts``.
    """
    remedy = "delete it to have the selection made again"
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
        stored = {part: [_as_item(datum) for datum in content[part]] for part in parts if part in content}
        if "train" not in stored:
            raise ValueError('it has no "train"')
        return {part: _matched(stored[part], parts[part]) for part in stored}
    except OSError:
        raise
    except Exception as error:  # a broken pickle may fail in any way
        raise ValueError(f"{path} cannot be used: {error}; {remedy}") from error


def _as_item(datum: _PickledDatum) -> Item:
    if not isinstance(datum, _PickledDatum):
        raise ValueError(f"it holds {type(datum).__name__} objects")
    return Item(datum._impath.replace("\\", "/"), datum._label, datum._classname)


def _matched(stored: list[Item], known: Sequence[Item]) -> list[Item]:
    """The known items whose paths are the ends of the stored ones."""
    by_path = {item.path: item for item in known}
    prefix = ""
    matched = []
    for item in stored:
        path = item.path
        if not (path.startswith(prefix) and path[len(prefix) :] in by_path):
            words = path.split("/")
            ends = ("/".join(words[start:]) for start in range(len(words)))
            end = next((end for end in ends if end in by_path), None)
            if end is None:
                raise ValueError(f"its image {path} is not in the data set's part")
            prefix = path[: len(path) - len(end)]
        ours = by_path[path[len(prefix) :]]
        if (ours.label, ours.classname) != (item.label, item.classname):
            raise ValueError(
                f"its image {path} is {item.classname!r} ({item.label}), "
                f"in the data set {ours.classname!r} ({ours.label})"
            )
        matched.append(ours)
    return matched
