"""Tables and figures of DPC's paper: what is run for each, and what is shown."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from experiments.catalogue import DEPT, GROUPS, SHIFTED, SOURCE, TARGETS, DataSet
from experiments.plan import Plan
from experiments.protocols import Wishes, base2new, xd
from experiments.run import Run
from experiments.words import ROOT

BACKBONES = ("coop", "maple", "promptsrc", "promptkd")
DEMO_SOURCE, DEMO_TARGETS = "digits", ("letters",)  # across data sets, with the embedded model


class Variant(NamedTuple):
    """What is changed beside the protocol: KEY VALUE words for all that is trained, and for DPC alone."""

    trained: tuple[str, ...] = ()
    dpc: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """One of them.

    Attributes:
        protocol: base2new or xd.
        learners: the methods, DPC stands on each; also those with DePT on them.
        shown: words of parse_test_res.py.
        plot: its option that draws, and the file, below the results' root; none where nothing is drawn.
        variants: how the runs are made, one after the other.
        script: instead of parse_test_res.py, what shows DPC's trainings.
    """

    protocol: str
    learners: tuple[str, ...]
    shown: tuple[str, ...] = ()
    plot: tuple[str, str] | None = None
    variants: tuple[Variant, ...] = (Variant(),)
    script: str = ""

    def runs(
        self,
        sets: Sequence[DataSet],
        seeds: Sequence[int],
        wishes: Wishes,
        readings: Sequence[str] = ("released",),
    ) -> Iterator[Run]:
        """``sets``, where there are any, take the place of the paper's; the first one is the source of xd."""
        names = sets or [DataSet(name) for name in self._names(wishes.demo)]
        for variant in self.variants:
            own = replace(
                wishes,
                varied=(*wishes.varied, *variant.trained),
                dpc_options=(*wishes.dpc_options, *variant.dpc),
            )
            if self.protocol == "base2new":
                yield from base2new(names, self.learners, readings, seeds, own)
            else:
                yield from xd(names[0], names[1:], self.learners, readings, seeds, own)

    def _names(self, demo: bool) -> tuple[str, ...]:
        if self.protocol == "base2new":
            return GROUPS["demo" if demo else "all11"]
        return (DEMO_SOURCE, *DEMO_TARGETS) if demo else (SOURCE, *TARGETS, *SHIFTED)

    def command(self, plan: Plan, output: Path, root: str) -> list[str]:
        """The words behind python that show what was run."""
        plot = [self.plot[0], str(output / self.plot[1])] if self.plot else []
        if not self.script:
            return ["parse_test_res.py", str(output / self.protocol), *self.shown, *plot]
        folders = [
            str(run.folder) for run in plan.runs.values() if run.trains and run.trainer.endswith("_DPC")
        ]
        return [self.script, *folders, "--root", root, *self.shown, *plot]


def ablation(number: int) -> Evidence:
    """Table 3, 4 or 5, whose rows say what they change."""
    variants: dict[Variant, None] = {}
    with (ROOT / "reporting/paper" / f"table{number}.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        words = [word.split("=") for word in line["settings"].split("+") if word]
        named = [(key if "." in key else f"TRAINER.DPC.{key}", value) for key, value in words]
        flat = tuple(word for pair in named for word in pair)
        trained = any(key.startswith("OPTIM.") for key, _ in named)
        variants[Variant(trained=flat) if trained else Variant(dpc=flat)] = None
    return Evidence("base2new", ("coop",), ("--ablation", str(number)), variants=tuple(variants))


TABLES = {
    1: Evidence("base2new", BACKBONES, ("--base-new", "--paper", "--average")),
    2: Evidence("xd", BACKBONES, ("--xd", "--paper")),
    **{number: ablation(number) for number in (3, 4, 5)},
}
# the paper says "3 backbones" and not which; these are the three of its four that DePT goes on
ON_DEPT = ("coop", "maple", "promptsrc")
WITH_DEPT = tuple(f"{name}{DEPT}" for name in ON_DEPT)
FIGURES = {
    1: Evidence(
        "base2new",
        (*BACKBONES, *WITH_DEPT),
        ("--base-new", "--average", "--paper"),
        ("--plot-base", "figure1.png"),
    ),
    5: Evidence("base2new", (*ON_DEPT, *WITH_DEPT), ("--base-new", "--average"), ("--plot-h", "figure5.png")),
    6: Evidence("base2new", ("coop",), plot=("--plot", "figure6.png"), script="sweep_weights.py"),
    7: Evidence("base2new", ("coop",), plot=("--output", "figure7"), script="channel_invariance.py"),
}

# B.6: parameters, time and memory, and what Top-K does
SUPPLEMENT = Evidence("base2new", BACKBONES, script="benchmarks/supplement.py")
