"""A pool of Parsl's, where its configuration says: pilot jobs of SLURM or PBS, Kubernetes, this machine."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from experiments.guard import guarded
from experiments.local import Pool, Process
from experiments.one import command
from experiments.plan import Plan
from experiments.run import Run
from experiments.words import ROOT

REMEDY = "pip install -r requirements-parsl.txt -c constraints.txt"
RUN_DIR = "runinfo"  # where Parsl keeps its own log unless the configuration says another


def read_config(file: Path) -> Any:
    """The ``config`` of a Python file of the user's, which is executed.

    Raises:
        ValueError: Parsl is not installed, there is no such file, it fails, or defines no configuration.
    """
    try:
        from parsl.config import Config
    except ImportError as error:
        raise ValueError(f"--on parsl needs Parsl ({error}): {REMEDY}") from error
    if not file.is_file():
        raise ValueError(f"--on parsl:FILE.py: there is no file {file}")
    try:
        config = runpy.run_path(str(file)).get("config")
    except Exception as error:  # it may be anything: the code is the user's
        raise ValueError(f"{file} fails: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise ValueError(f"{file} must define config, a parsl.config.Config, but it is {config!r}")
    return config


class Task:
    """A run in Parsl's hands."""

    returncode: int | None = None

    def __init__(self, future: Future[int], log: Path) -> None:
        self.future, self.log = future, log

    def poll(self) -> int | None:
        if self.returncode is None and self.future.done():
            if error := self.future.exception():  # its worker is lost, say
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(f"Parsl: {type(error).__name__}: {error}\n")
            self.returncode = 1 if error else self.future.result()
        return self.returncode


class ParslPool(Pool):
    """Runs a plan: a run is given to Parsl once what it needs is done.

    Attributes:
        config: a ``parsl.config.Config``. It says how many runs go on at a time, where, and on which GPUs.
    """

    def __init__(
        self,
        config: Any,
        plan: Plan,
        log_of: Callable[[Run], Path],
        retries: int = 0,
        say: Callable[[str], None] = print,
        look: Callable[[list[Run], int, int], None] = lambda going, ended, failed: None,
    ) -> None:
        super().__init__([{} for _ in plan.missing()], log_of, retries, say, look)
        self.config = config

    def run(self, plan: Plan) -> int:
        """0 when everything is done, else 1.

        Raises:
            ValueError: the configuration's ``run_dir`` has characters that Parsl can't work with.
        """
        import parsl

        if self.config.run_dir == RUN_DIR:
            self.config.run_dir = str(next(iter(plan.runs.values())).output / "logs" / "parsl")
        folder = os.path.abspath(self.config.run_dir)
        if folder != shlex.quote(folder):
            # its scripts are started by an unquoted path, and waited for forever
            raise ValueError(f"Parsl can't work in {folder!r}: set run_dir to a path of plain characters")
        # Parsl's programs are beside the interpreter, which need not be an activated environment's
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        with guarded():
            kernel = parsl.load(self.config)
            try:
                # a function that every Python has: workers need no module of ours
                self.app = parsl.python_app(subprocess.call, data_flow_kernel=kernel)
                return super().run(plan)
            finally:
                kernel.cleanup()
                parsl.clear()

    def _launch(self, run: Run, slot: dict[str, str], log: Path) -> Process:
        root, output = shlex.quote(str(ROOT)), shlex.quote(os.path.abspath(log))
        # it ends with the worker that has started it
        line = f"cd {root} && EXPERIMENTS_DRIVER=$PPID exec {shlex.join(command(run))}"
        line += f" >>{output} 2>&1 </dev/null"
        return Task(self.app(["bash", "-c", line], start_new_session=True), log)

    def _end_all(self) -> None:
        """The workers' end, which is to come, ends the runs."""
        self.going.clear()
