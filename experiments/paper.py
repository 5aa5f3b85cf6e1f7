"""Tables and figures of DPC's paper: what is run for each, and what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.catalogue import DEPT, GROUPS, SHIFTED, SOURCE, TARGETS, DataSet
from experiments.protocols import Wishes, base2new, xd
from experiments.run import Run

BACKBONES = ("coop", "maple", "promptsrc", "promptkd")
DEMO_SOURCE, DEMO_TARGETS = "digits", ("letters",)  # across data sets, with the embedded model


@dataclass(frozen=True)
class Evidence:
    """One of them.

    Attributes:
        protocol: base2new or xd.
        learners: the methods, DPC stands on each; also those with DePT on them.
        shown: words of parse_test_res.py.
        plot: its option that draws, and the file, below the results' root; none where nothing is drawn.
    """

    protocol: str
    learners: tuple[str, ...]
    shown: tuple[str, ...]
    plot: tuple[str, str] | None = None

    def runs(self, sets: Sequence[DataSet], seeds: Sequence[int], wishes: Wishes) -> Iterator[Run]:
        """``sets``, where there are any, take the place of the paper's; the first one is the source of xd."""
        names = sets or [DataSet(name) for name in self._names(wishes.demo)]
        if self.protocol == "base2new":
            return base2new(names, self.learners, ("released",), seeds, wishes)
        source, *targets = names
        return xd(source, targets, self.learners, ("released",), seeds, wishes)

    def _names(self, demo: bool) -> tuple[str, ...]:
        if self.protocol == "base2new":
            return GROUPS["demo" if demo else "all11"]
        return (DEMO_SOURCE, *DEMO_TARGETS) if demo else (SOURCE, *TARGETS, *SHIFTED)


TABLES = {
    1: Evidence("base2new", BACKBONES, ("--base-new", "--paper", "--average")),
    2: Evidence("xd", BACKBONES, ("--xd", "--paper")),
}
# the paper says "3 backbones" and not which; these are the three of its four that DePT goes on
ON_DEPT = ("coop", "maple", "promptsrc")
FIGURES = {
    5: Evidence(
        "base2new",
        (*ON_DEPT, *(f"{name}{DEPT}" for name in ON_DEPT)),
        ("--base-new", "--average"),
        ("--plot-h", "figure5.png"),
    ),
}
