"""The scripts in scripts/: their names, words and environment variables.

``scripts/<method>/<step>.sh WORD...`` runs ``python -m experiments.scripts <method>/<step> WORD...``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments import command
from experiments.catalogue import (
    GROUPS,
    OWN_SET,
    SOURCE,
    ZERO_SHOT,
    DataSet,
    Protocol,
    UnknownSet,
    find_set,
    known_sets,
)
from experiments.checks import refuse_changed_sets, refuse_foreign_sets
from experiments.environment import WrongWord, base2new_words, read_wishes, variables
from experiments.local import run_here
from experiments.plan import REMEDY, Plan
from experiments.protocols import (
    FEW_SHOTS,
    Builder,
    Place,
    base2new_place,
    xd_place,
    xd_student,
)
from experiments.protocols import xd_test as test_on_target
from experiments.run import Run, last_epoch
from experiments.state import Kind, State, state_of
from experiments.words import report_errors

SUBSETS = ("base", "new")


class Script:
    """One call of a script.

    Attributes:
        method, step: of its name, such as coop and base2new_train.
        form: the words that it takes.
    """

    def __init__(self, name: str, typed_in: Path, environment: dict[str, str]) -> None:
        self.name, self.typed_in, self.environment = name, typed_in, environment
        self.method, _, self.step = name.partition("/")
        self.protocol = self.step.rpartition("_")[0] if self.step != "few_shot" else "few_shot"
        self.wishes = read_wishes(environment, typed_in, self.method)
        self.learners = Protocol(self.protocol, self.wishes.preset).backbones()
        self.form = self._form()
        self.data, self.source, self.backbone, self.subset, self.seed = (
            DataSet(""),
            DataSet(SOURCE),
            "coop",
            "new",
            0,
        )

    def _form(self) -> str:
        trains_elsewhere = self.step == "xd_train" and self.method != "promptkd"
        words = ["SEED"] if trains_elsewhere else ["DATASET", "SEED"]
        if self.protocol == "xd" and self.method != ZERO_SHOT:
            words.append("[SOURCE]")
        if self.method == "dpc":
            words.append("[BACKBONE]")
        if self.step == "base2new_test":
            words.append("[base|new]")
        return " ".join(words)

    def read(self, words: Sequence[str]) -> None:
        """Take over the words of the command line; the optional ones may come in any order.

        Raises:
            WrongWord: one is missing or not understood.
        """
        rest = list(words)
        if self.form.startswith("DATASET"):
            if len(rest) < 2:
                raise WrongWord("DATASET and SEED are needed")
            self.data = self._set(rest.pop(0))
        if not rest:
            raise WrongWord("SEED is needed")
        seed = rest.pop(0)
        if not seed.isdigit():
            raise WrongWord(f"SEED is '{seed}'")
        self.seed = int(seed)
        for word in rest:
            self._read_optional(word)

    def _read_optional(self, word: str) -> None:
        if "base|new" in self.form and word in SUBSETS:
            self.subset = word
        elif "BACKBONE" in self.form and word in self.learners:
            self.backbone = word
        elif "SOURCE" in self.form and (
            word in known_sets() or "/" in word or (self.typed_in / word).exists()
        ):
            self.source = self._set(word)
        else:
            raise WrongWord(f"unknown {'backbone' if 'BACKBONE' in self.form else 'argument'} '{word}'")

    def _set(self, word: str) -> DataSet:
        if word == "folder" and "DATASET.DIR" not in self.wishes.options:
            raise WrongWord(
                "'folder' stands for any set of your own: give the set's path in place of that word"
            )
        return find_set(word, self.typed_in)

    def usage(self) -> str:
        lines = [f"usage: bash scripts/{self.name}.sh {self.form}"]
        sets = f"{' '.join(known_sets())}"
        if "DATASET" in self.form:
            lines += [f"  DATASET   one of: {sets}", f"            {OWN_SET}"]
        lines.append("  SEED      a whole number, 0 or more (1, 2 and 3 in the papers)")
        if "SOURCE" in self.form:
            lines.append(f"  SOURCE    the data set to train on, one of: {sets} (default: {SOURCE})")
            lines.append(f"            {OWN_SET}")
        if "BACKBONE" in self.form:
            known = " ".join(self.learners)
            lines.append(
                f"  BACKBONE  the prompt learner that DPC builds on, one of: {known} (default: coop)"
            )
        if "base|new" in self.form:
            lines.append("  base|new  the classes to test on (default: new)")
        return "\n".join([*lines, variables()])

    # -- what it runs -------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """What it runs, first things first.

        Raises:
            ValueError: what it tests was not trained yet.
        """
        return {
            "base2new_train": self._base2new_train,
            "base2new_test": self._base2new_test,
            "xd_train": self._xd_train,
            "xd_test": self._xd_test,
            "few_shot": self._few_shot,
        }[self.step]()

    def _training(self, place: Place) -> Run:
        builder = Builder(self.protocol, self.wishes)
        if self.method == "dpc":
            return builder.dpc(self.backbone, self.environment.get("VARIANT") or "released", place, self.seed)
        return builder.learner(self.method, place, self.seed)

    def _base2new_train(self) -> list[Run]:
        return [self._training(base2new_place(self.data, self.wishes))]

    def _base2new_test(self) -> list[Run]:
        part = f"base2new/test_{self.subset}"
        builder = Builder("base2new", self.wishes)
        if self.method == ZERO_SHOT:
            return [builder.zero_shot(part, self.data, self.subset, self.seed, self.wishes.shots or 16)]
        training = self._training(base2new_place(self.data, self.wishes))
        return [self._tested(training, builder.test(training, part, self.data, self.subset))]

    def _xd_train(self) -> list[Run]:
        if self.method == "promptkd":
            builder = Builder("xd", self.wishes)
            return [xd_student(builder, self.source, self.data, self.seed)]
        return [self._training(xd_place(self.source, self.wishes))]

    def _xd_test(self) -> list[Run]:
        builder = Builder("xd", self.wishes)
        if self.method == ZERO_SHOT:
            return [builder.zero_shot("xd/test", self.data, "all", self.seed, self.wishes.shots or 16)]
        test = test_on_target(
            builder, self._training(xd_place(self.source, self.wishes)), self.source, self.data
        )
        assert test.tests is not None
        return [self._tested(test.tests, test)]

    def _few_shot(self) -> list[Run]:
        if self.method == ZERO_SHOT:
            return [Builder("few_shot", self.wishes).zero_shot("few_shot", self.data, "all", self.seed, 0)]
        counts = (self.wishes.shots,) if self.wishes.shots else FEW_SHOTS
        return [self._training(Place("few_shot", self.data, "all", shots)) for shots in counts]

    def _tested(self, training: Run, test: Run) -> Run:
        """``test``, whose training must be there."""
        if last_epoch(training.folder) is not None:
            return test
        words = [shown(data) for data in self._train_words()]
        backbone = [self.backbone] if self.method == "dpc" else []
        hint = (
            " (PRESET=dpc tests a backbone that scripts/dpc trained)" if self.wishes.preset == "own" else ""
        )
        train = f"bash scripts/{self.method}/{self.step.replace('_test', '_train')}.sh"
        first = " ".join([train, *words, *backbone])
        raise ValueError(f"nothing trained in {training.folder} yet: {first} comes first{hint}")

    def _train_words(self) -> list[DataSet | int]:
        if self.protocol != "xd":
            return [self.data, self.seed]
        return [*([self.data] if self.method == "promptkd" else []), self.seed, self.source]


def shown(word: DataSet | int) -> str:
    """A word of a command line, for a shell."""
    text = (word.path or word.name) if isinstance(word, DataSet) else str(word)
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)


def run_script(name: str, words: Sequence[str], typed_in: Path) -> int:
    script = Script(name, typed_in, dict(os.environ))
    if {"-h", "--help"} & set(words):
        print(script.usage())
        return 0
    try:
        script.read(words)
    except (WrongWord, UnknownSet) as error:
        print(f"scripts/{name}.sh: {error}\n{script.usage()}", file=sys.stderr)
        return 2
    runs = script.runs()
    refuse_foreign_sets(runs, script.wishes.output)
    # a test runs alone, what it needs is there; a training comes behind what it needs
    states = {run: state_of(run) for run in runs if not run.trains}
    if not states:
        plan = Plan(runs)
        plan.refuse_other_settings()
        states = {run: plan.states[folder] for folder, run in plan.runs.items()}
    refuse_changed_sets(states.items())
    for run, state in states.items():
        if code := _run_one(run, state, script.protocol):
            return code
    return 0


def _run_one(run: Run, state: State, protocol: str) -> int:
    if run.said:
        print(f"== {protocol} has for {run.trainer} on {run.data.name}: {' '.join(run.said)}")
    if run.epoch is None and state.kind is Kind.OTHER:
        raise ValueError(f"{run.folder} holds results of other settings: {state.why}; {REMEDY}")
    if run.epoch is None and state.kind is Kind.DONE:
        print(f"== finished before, skipped: {run.folder} (remove that folder to run it again)")
        return 0
    what = "training" if run.trains else f"testing on {run.data.name}, {run.classes} classes"
    if state.kind is Kind.UNFINISHED:
        what = "going on where it stopped"
    print(f"== {what}: {run.folder}", flush=True)
    return run_here([run])


def base2new(words: Sequence[str], typed_in: Path) -> int:
    """scripts/base2new.sh."""
    environment = dict(os.environ)
    usage = f"usage: bash scripts/base2new.sh DATASET...\n  DATASET   one of: {' '.join(known_sets())}\n"
    usage += (
        f"            {OWN_SET}\n{variables()}\n  also BACKBONES, SEEDS, VARIANTS, JOBS (docs/protocols.md)"
    )
    if {"-h", "--help"} & set(words):
        print(usage)
        return 0
    try:
        arguments = command.parse(base2new_words(environment, words))
        for word in words:
            if word == "folder":
                raise WrongWord("'folder' stands for any set of your own: give the set's path")
            if word not in GROUPS:
                find_set(word, typed_in)
        wishes = read_wishes(environment, typed_in, "dpc")
        known = Protocol("base2new", wishes.preset).backbones()
        if unknown := [name for name in arguments.methods if name not in known]:
            raise ValueError(f"BACKBONES has '{unknown[0]}'; known: {' '.join(known)}")
    except (WrongWord, UnknownSet) as error:
        print(f"scripts/base2new.sh: {error}\n{usage}", file=sys.stderr)
        return 2
    return command.run(arguments, wishes, typed_in)


if __name__ == "__main__":
    here = Path(os.environ.get("TYPED_IN") or Path.cwd())
    script_name, *given_words = sys.argv[1:]
    step = base2new if script_name == "base2new" else partial(run_script, script_name)
    sys.exit(report_errors(lambda: step(given_words, here), f"scripts/{script_name}.sh"))
