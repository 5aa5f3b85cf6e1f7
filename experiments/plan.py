"""A plan: runs in an order in which they can be made, and what is there of each."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from experiments.run import Run
from experiments.state import Kind, State, state_of

REMEDY = "set OUTPUT (--output) to another folder, or remove that one"
MISSING = {Kind.TO_RUN, Kind.UNFINISHED, Kind.OUTDATED}


class Plan:
    """Each run once, behind what it needs.

    Raises:
        ValueError: two runs of other settings share a folder.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs: dict[Path, Run] = {}
        for run in runs:
            for part in run.chain():
                if self.runs.setdefault(part.folder, part).settings() != part.settings():
                    raise ValueError(f"{part.folder} is meant for runs of two settings")
        self.states: dict[Path, State] = {}
        for run in self.runs.values():
            self.states[run.folder] = self._state(run)

    def _state(self, run: Run) -> State:
        state = state_of(run)
        if state.kind is Kind.DONE:
            anew = next((need for need in run.needs if self.states[need.folder].kind in MISSING), None)
            if anew is not None and run.trains:
                return State(
                    Kind.OTHER, f"it builds on an earlier {anew.trainer} than the one that is to run"
                )
            if anew is not None:
                return State(Kind.OUTDATED, f"{anew.trainer} below it is to run")
        return state

    def only(self, pattern: str) -> Plan:
        """The runs whose folders match, with what they need."""
        plan = self.chosen(lambda run: fnmatch.fnmatch(str(run.folder), f"*{pattern}*"))
        if not plan.runs:
            raise ValueError(f"--only {pattern!r} matches none of the {len(self.runs)} runs")
        return plan

    def chosen(self, choose: Callable[[Run], bool]) -> Plan:
        """The runs that are chosen, with what they need."""
        return Plan(run for run in self.runs.values() if choose(run))

    def missing(self) -> list[Run]:
        """What is to be run, first things first."""
        return [run for run in self.runs.values() if self.states[run.folder].kind in MISSING]

    def refuse_other_settings(self) -> None:
        """Raise ValueError where a folder holds results of other settings: they are not overwritten."""
        others = [(folder, state) for folder, state in self.states.items() if state.kind is Kind.OTHER]
        if others:
            folder, state = others[0]
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            raise ValueError(f"{folder} holds results of other settings: {state.why}{more}; {REMEDY}")

    def tree(self) -> list[str]:
        """A line a run, below what it builds on."""
        lines, shown = [], set()

        def show(run: Run, depth: int) -> None:
            if run.folder in shown:
                return
            shown.add(run.folder)
            state = self.states[run.folder]
            why = f" ({state.why})" if state.why else ""
            lines.append(f"{'  ' * depth}{state.kind.value:<12} {run.folder}{why}")
            for other in self.runs.values():
                if other.needs and other.needs[-1].folder == run.folder:
                    show(other, depth + 1)

        for run in self.runs.values():
            if not run.needs:
                show(run, 0)
        return [*lines, self.summary()]

    def summary(self) -> str:
        counts = Counter(state.kind.value for state in self.states.values())
        parts = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        return f"{len(self.runs)} runs: {parts}" if parts else "0 runs"
