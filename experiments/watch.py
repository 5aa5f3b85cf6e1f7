"""What a plan is at: lines and a bar while it runs, and what is there at any time."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from experiments.plan import MISSING, Plan
from experiments.run import Run
from experiments.state import Kind

SHOWN = 3  # runs that the bar tells the progress of
_PROGRESS = re.compile(r"epoch \[(\d+)/(\d+)\].*?eta (\S+)")


class Watch:
    """Says what a pool does.

    Args:
        where: what makes the runs, such as "2 at a time".
        output: root of the results, where the runs' output is kept.
    """

    def __init__(self, plan: Plan, where: str, output: Path) -> None:
        self.output, self.looked = output, 0.0
        missing = plan.missing()
        print(f"{plan.summary()}; {where}; results in {output}", flush=True)
        self.bar = tqdm(total=len(missing), unit="run", disable=not sys.stderr.isatty(), dynamic_ncols=True)

    def log_of(self, run: Run) -> Path:
        return log_file(self.output, run)

    def say(self, line: str) -> None:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def look(self, going: list[Run], ended: int, failed: int) -> None:
        """Show in the bar, once a second, what goes on."""
        if self.bar.disable or time.monotonic() - self.looked < 1:
            return
        self.looked = time.monotonic()
        names = [f"{run.trainer} {run.data.name} {run.seed} {progress(run.folder)}".strip() for run in going]
        more = [f"{len(going) - SHOWN} more"] if len(going) > SHOWN else []
        lost = [f"{failed} failed"] if failed else []
        self.bar.n = ended
        self.bar.set_postfix_str(", ".join([*lost, *names[:SHOWN], *more]))

    def close(self) -> None:
        self.bar.close()


def log_file(output: Path, run: Run) -> Path:
    """Where a run's output goes."""
    return output / "logs" / f"{run.place.replace('/', '-').replace(' ', '-')}.txt"


def has_begun(plan: Plan, run: Run, output: Path) -> bool:
    """Whether a run that is not done was started once."""
    kind = plan.states[run.folder].kind
    return kind is Kind.UNFINISHED or (kind in MISSING and log_file(output, run).exists())


def status(plan: Plan, running: Callable[[Run], bool]) -> list[str]:
    """A line a run that is going on, and how many are in which state."""
    lines = []
    for folder, run in plan.runs.items():
        if running(run):
            lines.append(f"{'running':<12} {folder} {progress(folder)}".rstrip())
    for folder, state in plan.states.items():
        if state.kind.value in ("unfinished", "of other settings") and not running(plan.runs[folder]):
            lines.append(f"{state.kind.value:<12} {folder} {progress(folder)}".rstrip())
    return [*lines, plan.summary()]


def progress(folder: Path) -> str:
    """The epoch that a run is at, and how long it will take, from its log."""
    log = folder / "log.txt"
    if not log.is_file():
        return ""
    said = _PROGRESS.findall(log.read_text(encoding="utf-8", errors="replace"))
    return f"(epoch {said[-1][0]} of {said[-1][1]}, {said[-1][2]} left)" if said else ""
