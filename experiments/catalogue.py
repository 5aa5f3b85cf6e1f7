"""What there is to run: methods, data sets, and what each protocol runs a method with."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CONFIGS = Path("configs")
ZERO_SHOT = "zsclip"
DEPT = "_dept"  # ends the name of a method with DePT on it
SOURCE = "imagenet"  # of the cross-dataset protocols
TARGETS = (
    *("caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)
SHIFTED = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
GROUPS = {"all11": (SOURCE, *TARGETS), "targets": TARGETS, "shifted": SHIFTED, "demo": ("digits", "letters")}
OWN_SET = "or a path: your folder of images, or your .csv or .json list of them (docs/datasets.md)"


@dataclass(frozen=True)
class DataSet:
    """A named data set, or one of the user's own.

    Attributes:
        name: in folders and tables.
        path: absolute, of one of the user's own; "" for one of ``configs/datasets``.
    """

    name: str
    path: str = ""

    def words(self) -> list[str]:
        """What tells train.py the data set; flags stand before KEY VALUE words."""
        file = CONFIGS / "datasets" / f"{'folder' if self.path else self.name}.yaml"
        own = ["DATASET.DIR", self.path] if self.path else []
        return ["--dataset-config-file", str(file), *own]

    def fingerprint(self) -> str:
        """What its contents are told by, for one of the user's own: names and sizes, or the list itself."""
        return _fingerprint(self.path) if self.path else ""

    @property
    def is_demo(self) -> bool:
        return not self.path and self.name in GROUPS["demo"]


@cache
def _fingerprint(path: str) -> str:
    told = hashlib.sha256()
    if os.path.isfile(path):
        told.update(Path(path).read_bytes())
    for folder, folders, files in os.walk(path):
        # what is computed from a data set is kept there
        folders[:] = sorted(name for name in folders if name != "split_fewshot" and not name.startswith("."))
        for name in sorted(files):
            if name != "split.json" and not name.startswith("."):
                file = os.path.join(folder, name)
                told.update(f"{os.path.relpath(file, path)} {os.path.getsize(file)}\n".encode())
    return told.hexdigest()[:8]


def known_sets() -> list[str]:
    """Names of data sets; ``folder`` stands for those that come as a path."""
    return [name for name in names_in("datasets") if name != "folder"]


def names_in(folder: str) -> list[str]:
    """The configurations in a folder of configs/, sorted."""
    return sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml"))


class UnknownSet(ValueError):
    """A word that means no data set."""


def find_set(word: str, typed_in: Path) -> DataSet:
    """The data set that a word of the command line means; a relative path is meant from ``typed_in``.

    Raises:
        UnknownSet: none is called so, and nothing lies there.
    """
    if "/" not in word and word in names_in("datasets"):
        return DataSet(word)
    path = typed_in / word if word else None
    if path is not None and path.is_dir():
        path = path.resolve()
        return DataSet(path.name, str(path))
    is_list = word.endswith((".csv", ".json"))
    if path is not None and path.is_file() and is_list:
        path = path.parent.resolve() / path.name
        return DataSet(path.stem, str(path))
    if "/" in word or is_list:
        raise UnknownSet(f"there is no folder and no .csv or .json list at '{word}'")
    raise UnknownSet(
        f"unknown data set '{word}': neither one of the names below nor a folder or list of your own"
    )


def methods() -> dict[str, str]:
    """Method -> trainer: a trainer's name in lower case, wherever it has configurations."""
    folders = sorted(path.name for path in (CONFIGS / "trainers").iterdir() if path.is_dir())
    learners = [n for n in folders if not n.endswith("_DPC") and n != "SPLE" and not n.startswith("Zeroshot")]
    return {ZERO_SHOT: "ZeroshotCLIP", **{name.lower(): name for name in learners}}


@dataclass(frozen=True)
class Line:
    """A line of configs/protocols.txt; ``for_dpc``: its settings are those of DPC on the method, too."""

    preset: str
    protocol: str
    method: str
    sets: str
    shots: str
    cfg: str
    dpc: str
    settings: tuple[str, ...]
    for_dpc: bool = False

    def fits(self, preset: str, protocol: str, method: str, data: DataSet, shots: int) -> bool:
        name = "" if data.path else data.name  # one of the user's own is nobody's, whatever its name
        said = (self.preset, self.protocol, self.sets, self.shots)
        asked = (preset, protocol, name, str(shots))
        fit = (words == "*" or word in words.split(",") for words, word in zip(said, asked, strict=True))
        return self.method == method and all(fit)


def read_lines() -> Iterator[Line]:
    for line in (CONFIGS / "protocols.txt").read_text(encoding="utf-8").splitlines():
        words = [] if line.startswith("#") else shlex.split(line)
        if words:
            preset, protocol, method, sets, shots, cfg, dpc, *settings = words
            method, _, plugin = method.partition("+")
            yield Line(preset, protocol, method, sets, shots, cfg, dpc, tuple(settings), plugin == "dpc")


@dataclass(frozen=True)
class Protocol:
    """A protocol under a preset: whose settings backbones have, see configs/protocols.txt."""

    name: str
    preset: str

    def configuration(self, method: str, data: DataSet, shots: int, plugin: bool = False) -> str:
        """The default one of a method, or of DPC on it; "" where there is none."""
        trainer = methods().get(method, "") + ("_DPC" if plugin else "")
        for line in self._fitting(method, data, shots):
            cfg = line.dpc if plugin else line.cfg
            if cfg != "-":
                return cfg if cfg != "none" and (CONFIGS / "trainers" / trainer).is_dir() else ""
        real = [name for name in names_in(f"trainers/{trainer}") if name != "demo"] if trainer else []
        return real[0] if len(real) == 1 else ""

    def settings(
        self, method: str, data: DataSet, shots: int, cfg: str, plugin: bool = False
    ) -> tuple[str, ...]:
        """KEY VALUE words that the protocol has for a run of ``method``, or of DPC on it, with ``cfg``."""
        said: dict[str, str] = {}
        for line in self._fitting(method, data, shots):
            if line.cfg in ("-", cfg) and (line.for_dpc or not plugin):
                said = {**dict(zip(line.settings[::2], line.settings[1::2], strict=True)), **said}
        return tuple(word for pair in said.items() for word in pair)

    def backbones(self) -> list[str]:
        """The methods that DPC builds on."""
        return [name for name in methods() if self.configuration(name, DataSet(""), 16, plugin=True)]

    def _fitting(self, method: str, data: DataSet, shots: int) -> list[Line]:
        return [line for line in read_lines() if line.fits(self.preset, self.name, method, data, shots)]


def known_configuration(trainer: str, cfg: str) -> str:
    """``cfg``.

    Raises:
        ValueError: ``trainer`` has no configuration of that name; lists those that it has.
    """
    known = names_in(f"trainers/{trainer}")
    if cfg not in known:
        raise ValueError(
            f"{trainer} has no configuration '{cfg}'; known in configs/trainers/{trainer}: {' '.join(known)}"
        )
    return cfg


def expand(words: Sequence[str], typed_in: Path) -> list[DataSet]:
    """Data sets of the words of a command line, groups (all11, targets, shifted, demo) among them.

    Raises:
        ValueError: a word means nothing, or two sets have the same name.
    """
    found: list[DataSet] = []
    for word in words:
        found += [DataSet(name) for name in GROUPS[word]] if word in GROUPS else [find_set(word, typed_in)]
    found = list(dict.fromkeys(found))
    names = [data.name for data in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two data sets are called {twice}: rename one")
    return found
