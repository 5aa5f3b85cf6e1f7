"""A run as a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from experiments.catalogue import CONFIGS, DataSet

CHECKPOINTS = "model.pth.tar-"
BEST = "model-best.pth.tar"
DATA_SET, CONTENTS = "data set", "its contents"  # keys of `Run.settings`
# settings that change no figure, or none that is shown; dassl/config/node.py knows them as LOCATION_SETTINGS
QUIET = {
    *("USE_CUDA", "VERBOSE", "DATALOADER.NUM_WORKERS", "DATALOADER.CACHE_MB", "DATALOADER.TEST.BATCH_SIZE"),
    *("TRAIN.CHECKPOINT_FREQ", "TRAIN.PRINT_FREQ", "TRAIN.TENSORBOARD", "TRAIN.LOGGER"),
    *("TEST.CACHE_FEATURES", "TEST.SAVE_LOGITS", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT"),
}


@dataclass(frozen=True)
class Run:
    """One call of train.py.

    Attributes:
        output: root of the results.
        folder: its own, below it.
        root: where the named data sets are.
        trainer, cfg: ``configs/trainers/<trainer>/<cfg>.yaml``.
        classes: all, base or new.
        options: KEY VALUE words that the protocol has for it.
        extra: KEY VALUE words of the user's, the last word on all of them.
        needs: runs whose results it builds on, in the order in which they were described.
        tests: the training whose prompts it evaluates; None for a training, or zero-shot CLIP's test.
        trains: whether it trains.
        epoch: the one whose checkpoint is tested; None for the one that the training ended with.
        said: the settings among ``options`` that the protocol has for this data set or number of shots.
    """

    output: Path
    folder: Path
    root: str
    trainer: str
    cfg: str
    data: DataSet
    seed: int
    shots: int
    classes: str
    options: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    needs: tuple[Run, ...] = field(default=(), repr=False)
    tests: Run | None = field(default=None, repr=False)
    trains: bool = True
    epoch: int | None = None
    said: tuple[str, ...] = ()

    @property
    def config_file(self) -> Path:
        return CONFIGS / "trainers" / self.trainer / f"{self.cfg}.yaml"

    def flags(self) -> list[str]:
        """The words of train.py's command line in front of `how_words`."""
        flags = ["--root", self.root, "--output-dir", str(self.folder), "--seed", str(self.seed)]
        return [*flags, "--trainer", self.trainer, "--config-file", str(self.config_file)]

    def key_values(self) -> list[str]:
        """The words behind them."""
        counts = ["DATASET.NUM_SHOTS", str(self.shots), "DATASET.SUBSAMPLE_CLASSES", self.classes]
        return [*self.data.words(), *self.options, *counts, *self.extra]

    # -- what its results depend on ------------------------------------------------------------------

    def settings(self) -> dict[str, str]:
        """What its figures depend on, as text; where things lie and how loudly they run is left out."""
        told = {
            "trainer": self.trainer,
            "configuration": f"{self.cfg} {_digest(self.config_file)}",
            DATA_SET: self.data.path or f"{self.data.name} {_digest(Path(self.data.words()[1]))}",
            **({CONTENTS: self.data.fingerprint()} if self.data.path else {}),
            "seed": str(self.seed),
            "shots": str(self.shots),
            "classes": self.classes,
        }
        if self.epoch is not None:
            told["epoch"] = str(self.epoch)
        pairs = pairs_of((*self.options, *self.extra))
        folders = {str(run.folder): run.place for run in self.needs}
        return told | {key: folders.get(value, value) for key, value in pairs.items() if key not in QUIET}

    @property
    def place(self) -> str:
        """Its folder, wherever the results are kept."""
        return self.folder.relative_to(self.output).as_posix()

    def key(self) -> str:
        """12 hexadecimal digits of `settings`."""
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()[:12]

    def chain(self) -> Iterator[Run]:
        """What it needs, first things first, and itself."""
        for run in self.needs:
            yield from run.chain()
        yield self


def how_words(trains: bool, folder: Path, tests: Path | None, epoch: int | None) -> list[str]:
    """Which checkpoint train.py tests, or what it resumes, as things are now."""
    if trains:
        return ["--resume", str(folder)] if (folder / "resume.pth.tar").exists() else []
    if tests is None:
        return ["--eval-only"]
    how = ["--eval-only", "--model-dir", str(tests)]
    # a run that chose among its epochs ends with the best one, which train.py takes where none is named
    if epoch is None and any(tests.glob(f"*/{BEST}")):
        return how
    return [*how, "--load-epoch", str(last_epoch(tests) if epoch is None else epoch)]


def last_epoch(folder: Path) -> int | None:
    """The epoch of the last checkpoint of the training in a folder; None where there is none."""
    for path in sorted(folder.glob("*/checkpoint")):
        name = path.read_text().strip().splitlines()[-1:] or [""]
        if name[0].startswith(CHECKPOINTS):
            return int(name[0].removeprefix(CHECKPOINTS))
    return None


def pairs_of(words: tuple[str, ...]) -> dict[str, str]:
    """KEY VALUE words; what follows a value up to the next key belongs to it."""
    pairs: dict[str, str] = {}
    key = ""
    for word in words:
        if is_key(word):
            key = word
            pairs[key] = ""
        elif key:
            pairs[key] = f"{pairs[key]} {word}".strip()
    return pairs


def is_key(word: str) -> bool:
    head, *groups = word.split(".")
    if not groups:
        return word in ("SEED", "TASK")
    # a group may be called as a trainer is: TRAINER.MMRLpp.BETA
    return head.isupper() and groups[-1].upper() == groups[-1] != "" and all(map(str.isidentifier, groups))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.is_file() else "missing"
