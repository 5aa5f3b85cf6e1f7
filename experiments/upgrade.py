"""Prompts that outlive their model: tuned on CLIP A, tested on it and, as they are, on its successor B.

Beside them zero-shot CLIP and the same methods tuned on B. What the table says: docs/protocols.md.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from experiments.catalogue import DataSet, methods
from experiments.protocols import Builder, Place, Wishes, trainings
from experiments.run import Run, pairs_of
from experiments.words import from_here

DEMO_PAIR = ("demo/tiny_clip.pt", "demo/next_clip.pt")
# what the parts of a pair's folder are called; reporting/upgrade.py reads them
OLD, MOVED, NEW, CONTROL = "A_to_A", "A_to_B", "B_to_B", "A_to_B_words"
# this package imports nothing that takes a second to
WIDTHS = "import sys, clip; print(*(clip.load_token_embedding(name).shape[1] for name in sys.argv[1:]))"


@dataclass(frozen=True)
class Model:
    """A CLIP.

    Attributes:
        name: OpenAI's name for it, or its file.
        options: KEY VALUE words that go with it, such as its activation.
    """

    name: str
    options: tuple[str, ...] = ()

    @property
    def is_file(self) -> bool:
        return self.name.endswith((".pt", ".pth", ".bin", ".safetensors"))

    @property
    def label(self) -> str:
        """Its name in folders."""
        return Path(self.name).stem if self.is_file else self.name.replace("/", "-")

    def words(self) -> tuple[str, ...]:
        return (f"MODEL.BACKBONE.{'PATH' if self.is_file else 'NAME'}", self.name, *self.options)


def find_model(word: str, options: Sequence[str], typed_in: Path) -> Model:
    """The CLIP that a word of the command line means.

    Raises:
        ValueError: it looks like a file, and none is there.
    """
    model = Model(word, tuple(options))
    if not model.is_file:
        return model
    path = from_here(word, "", typed_in)
    if not Path(path).is_file():
        remedy = "; demo/README.md says how it is made" if path in DEMO_PAIR else ""
        raise ValueError(f"there is no file of CLIP's weights at '{word}'{remedy}")
    return Model(path, tuple(options))


class Pair:
    """Runs on a CLIP, on its successor, and from one to the other."""

    def __init__(self, old: Model, new: Model, wishes: Wishes) -> None:
        if old.words() == new.words():
            raise ValueError(f"--old and --new are both '{old.name}'")
        self.models = old, new
        self.wishes, self.folder = wishes, f"upgrade/{old.label}-to-{new.label}"
        self.old, self.new = (self._builder(model) for model in (old, new))

    def _builder(self, model: Model) -> Builder:
        given, told = pairs_of(self.wishes.options), pairs_of(model.words())
        own = {*told, "MODEL.BACKBONE.NAME", "MODEL.BACKBONE.PATH"}
        if both := [key for key in given if key in own]:
            raise ValueError(
                f"--options has {both[0]}, which differs between the models: --old, --new, --old-options and "
                "--new-options say it"
            )
        options = tuple(word for pair in {**told, **given}.items() for word in pair)
        return Builder("upgrade", replace(self.wishes, options=options))

    def check_widths(self) -> None:
        """Read both models, which may have to be downloaded first.

        Raises:
            ValueError: a model cannot be had, or their text towers are not of one width.
        """
        names = [model.name for model in self.models]
        result = subprocess.run([sys.executable, "-c", WIDTHS, *names], capture_output=True, text=True)
        if result.returncode:
            raise ValueError(result.stderr.strip().splitlines()[-1])
        old, new = result.stdout.split()
        if old != new:
            raise ValueError(
                f"the text tower of --old {names[0]} is {old} wide, that of --new {names[1]} {new}: prompts "
                "of one don't fit the other"
            )

    def zero_shot(self, data: DataSet, seed: int) -> Iterator[Run]:
        for builder, part in ((self.old, OLD), (self.new, NEW)):
            plain = Builder("upgrade", replace(builder.wishes, learner_cfg=""))
            yield plain.zero_shot(f"{self.folder}/{part}", data, "all", seed, self.wishes.shots or 16)

    def trained(
        self, method: str, readings: Sequence[str], data: DataSet, seed: int
    ) -> Iterator[tuple[Run, Run]]:
        """Trainings of a learner, and of DPC on it: on A, and on B."""
        places = (Place(f"{self.folder}/{part}", data, "all", self.wishes.shots or 16) for part in (OLD, NEW))
        both = [
            trainings(builder, method, readings, place, seed)
            for builder, place in zip((self.old, self.new), places, strict=True)
        ]
        yield from zip(*both, strict=True)

    def moved(self, training: Run, part: str, data: DataSet, source: DataSet) -> Run:
        """A test on B of prompts that were tuned on A."""
        test = self.old.test(training, f"{self.folder}/{part}", data, "all", source)
        test = replace(test, extra=self.new._extra(training.trainer))
        if part != CONTROL:
            return test
        return replace(test, options=(*test.options, "TRAINER.COOP.UPGRADED_FROM", self.models[0].name))

    def tests(self, tuned: Run, again: Run, data: DataSet, source: DataSet) -> Iterator[Run]:
        """What is to be tested on a data set, beside what the trainings test themselves."""
        if data != source:
            yield self.old.test(tuned, f"{self.folder}/{OLD}", data, "all", source)
            yield self.new.test(again, f"{self.folder}/{NEW}", data, "all", source)
        yield self.moved(tuned, MOVED, data, source)
        if keeps_its_words(tuned):
            yield self.moved(tuned, CONTROL, data, source)


def keeps_its_words(run: Run) -> bool:
    """Whether a learner's context starts from words, so that it has a distance from them: the control."""
    words = pairs_of((*run.options, *run.extra)).get("TRAINER.COOP.CTX_INIT")
    if words is None:
        said = yaml.safe_load(run.config_file.read_text(encoding="utf-8")) or {}
        words = said.get("TRAINER", {}).get("COOP", {}).get("CTX_INIT", "")
    return run.trainer in ("CoOp", "KgCoOp") and bool(words)


def upgrade(
    pair: Pair,
    sets: Sequence[DataSet],
    targets: Sequence[DataSet],
    learners: Sequence[str],
    readings: Sequence[str],
    seeds: Sequence[int],
) -> Iterator[Run]:
    """Zero-shot CLIP, the learners and DPC on each, on all data sets; ``targets`` are tested, not trained on.

    Raises:
        ValueError: a learner's prompts are in the image tower, which is another one in B.
    """
    if unfit := [name for name in learners if name not in text_learners()]:
        raise ValueError(
            f"--methods has '{unfit[0]}', whose prompts are in the image tower, or nowhere: an upgrade "
            f"replaces that; there are {' '.join(text_learners())}"
        )
    for seed in seeds:
        for data in (*sets, *targets):
            yield from pair.zero_shot(data, seed)
        for source in sets:
            for method in learners:
                for tuned, again in pair.trained(method, readings, source, seed):
                    yield from (tuned, again)
                    for data in (source, *targets):
                        yield from pair.tests(tuned, again, data, source)


def text_learners() -> list[str]:
    """Methods whose prompts stand in front of the text tower alone."""
    return [name for name in methods() if name in ("coop", "cocoop", "kgcoop", "e2mim", "contcoop")]
