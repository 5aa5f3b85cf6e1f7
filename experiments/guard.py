"""Ends what a pool has started when its driver has ended, in whatever way: kill -9, too.

    python -m experiments.guard DRIVER NAME    with a pipe from the driver as standard input

All that the driver starts carries the variable `VARIABLE` = NAME, and jobs of SLURM are called NAME. What is
on other machines ends with its job.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "EXPERIMENTS_POOL"
PATIENCE = 30.0  # seconds for processes to be gone, and for scancel's answer


@contextmanager
def guarded() -> Iterator[None]:
    """Nothing that is started in the block, or by what is, outlives it or this process."""
    name = f"experiments-pool-{uuid.uuid4().hex}"
    words = [sys.executable, "-m", "experiments.guard", str(os.getpid()), name]
    # in a session of its own: what a terminal or kill does to the driver's group does not reach it
    guard = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    # sbatch takes a job's name from its environment before that in a script; setproctitle, which Parsl's
    # programs use, would write a title over the variables that they are known by
    ours = {VARIABLE: name, "SBATCH_JOB_NAME": name, "SPT_NOENV": "1"}
    before = {key: os.environ.get(key) for key in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value
        guard.communicate()


def main(driver: int, name: str) -> None:
    # the pipe may be held open by a child of the driver's; the parent's number tells then
    while os.getppid() == driver and not select.select([sys.stdin], [], [], 0.5)[0]:
        pass
    end_processes(name)
    if shutil.which("scancel"):
        with suppress(subprocess.TimeoutExpired):
            words = ["scancel", f"--user={os.getuid()}", f"--name={name}"]
            subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
        end_processes(name)


def end_processes(name: str) -> None:
    """Kill whatever carries the name, until there is nothing: one may have started another just now."""
    deadline = time.monotonic() + PATIENCE
    while (pids := carriers(name)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def carriers(name: str) -> list[int]:
    """This user's processes on this machine that carry the name."""
    line = f"{VARIABLE}={name}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if path.stat().st_uid == os.getuid() and line in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
