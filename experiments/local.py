"""A pool of processes on this machine: slots on GPUs, or on the cores of the CPU."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from experiments.one import command
from experiments.plan import Plan
from experiments.run import Run

TAIL = 30  # lines of a failed run's log that are shown
PATIENCE = 5.0  # seconds between asking processes to end and ending them


class Stopped(Exception):
    """Somebody asked the driver to end."""


def find_gpus() -> list[str]:
    """The GPUs of this machine that this process may use, by index."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [word for word in visible.split(",") if word.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    result = subprocess.run(asked, capture_output=True, text=True, check=False)
    return result.stdout.split() if result.returncode == 0 else []


def slots(gpus: Sequence[str], per_gpu: int, jobs: int | None) -> list[dict[str, str]]:
    """The environment of each run that may go on at a time.

    Args:
        jobs: how many at a time; None for one a slot of the GPUs, and without GPUs one at a time.
    """
    places = [{"CUDA_VISIBLE_DEVICES": gpu} for _ in range(per_gpu) for gpu in gpus]
    if jobs is not None and gpus and jobs > len(places):
        raise ValueError(f"--jobs is {jobs}, but there is room for {len(places)}: raise --per-gpu")
    if not places:
        places = [{} for _ in range(jobs or 1)]
    places = places[: jobs or len(places)]
    if len(places) > 1 and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, (os.cpu_count() or 1) // len(places)) if gpus else 1
        places = [{**place, "OMP_NUM_THREADS": str(threads)} for place in places]
    return places


class Process(Protocol):
    """What makes a run, here or elsewhere; its exit code is there once `poll` has given it."""

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...


@dataclass
class Going:
    run: Run
    slot: dict[str, str]
    process: Process
    started: float = field(default_factory=time.monotonic)


class Pool:
    """Runs a plan.

    A failed run stops only what needs it. When the driver is asked to end, or dies, so do all runs; the same
    plan goes on where they stopped.

    Attributes:
        places: see `slots`.
        retries: how often a failed run is resumed.
        say: takes a line for the user.
        log_of: where a run's output goes.
        look: is told now and then which runs go on, how many have come to an end, and how many have failed.
    """

    def __init__(
        self,
        places: list[dict[str, str]],
        log_of: Callable[[Run], Path],
        retries: int = 0,
        say: Callable[[str], None] = print,
        look: Callable[[list[Run], int, int], None] = lambda going, ended, failed: None,
    ) -> None:
        self.free, self.log_of, self.retries, self.say, self.look = list(places), log_of, retries, say, look
        self.ended = 0  # runs that are done, have failed, or lack what they need
        self.going: list[Going] = []
        self.tries: dict[Path, int] = {}
        self.failed: list[Run] = []

    def run(self, plan: Plan) -> int:
        """0 when everything is done, else 1."""
        waiting = plan.missing()
        self.ready = set(plan.runs) - {run.folder for run in waiting}
        earlier = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while waiting or self.going:
                waiting = self._start(waiting)
                self._wait()
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
            self._end_all()
        return 1 if self.failed else 0

    def _start(self, waiting: list[Run]) -> list[Run]:
        """Start what can be; returns what can't yet, without what never can."""
        left = []
        lost = {run.folder for run in self.failed}
        for run in waiting:
            if any(need.folder in lost for need in run.needs):
                lost.add(run.folder)
                self.ended += 1
                self.say(f"not run, for what it needs failed: {run.folder}")
            elif self.free and all(need.folder in self.ready for need in run.needs):
                self._begin(run, self.free.pop(0))
            else:
                left.append(run)
        return left

    def _begin(self, run: Run, slot: dict[str, str]) -> None:
        log = self.log_of(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.going.append(Going(run, slot, self._launch(run, slot, log)))

    def _launch(self, run: Run, slot: dict[str, str], log: Path) -> Process:
        environment = {**os.environ, **slot, "EXPERIMENTS_DRIVER": str(os.getpid())}
        with log.open("ab") as file:
            return subprocess.Popen(
                command(run), stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=environment, start_new_session=True,
            )  # fmt: skip

    def _wait(self) -> None:
        ended = [going for going in self.going if going.process.poll() is not None]
        if not ended:
            self.look([going.run for going in self.going], self.ended, len(self.failed))
            time.sleep(0.02)
        for going in ended:
            self.going.remove(going)
            self.free.append(going.slot)
            self._finish(going)

    def _finish(self, going: Going) -> None:
        run, code = going.run, going.process.returncode
        took = f"{time.monotonic() - going.started:.0f} s"
        if code == 0:
            self.ended += 1
            self.ready.add(run.folder)
            self.say(f"{run.folder} ({took})")
            return
        tries = self.tries[run.folder] = self.tries.get(run.folder, 0) + 1
        if tries <= self.retries:
            self.say(f"{run.folder} failed with exit code {code}; once more")
            self._begin(run, self.free.pop())
            return
        self.failed.append(run)
        self.ended += 1
        log = self.log_of(run)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        print("\n".join(lines), file=sys.stderr)
        print(f"{run.folder} failed with exit code {code}; all of its output: {log}", file=sys.stderr)

    def _end_all(self) -> None:
        """End what goes on, with all that it has started."""
        processes = [going.process for going in self.going if isinstance(going.process, subprocess.Popen)]
        for process in processes:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in processes:
            _signal(process, signal.SIGKILL)
            process.wait()
        self.going.clear()


def _stop(number: int, frame: FrameType | None) -> Any:
    raise Stopped(signal.Signals(number).name)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def run_here(runs: Sequence[Run]) -> int:
    """One run after the other, with their output on the screen; stops at the first that fails."""
    for run in runs:
        code = subprocess.call(command(run), env={**os.environ, "EXPERIMENTS_DRIVER": str(os.getpid())})
        if code:
            return code
    return 0
