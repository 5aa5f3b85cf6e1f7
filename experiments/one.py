"""The process of one run. It has the lock of the run's folder, and ends with the process that started it."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from experiments.run import Run, how_words
from experiments.state import write_settings

BUSY = 75  # exit code: another process has the run (EX_TEMPFAIL)
_SIGNAL_AT_PARENTS_DEATH = 1  # prctl's PR_SET_PDEATHSIG


def command(run: Run) -> list[str]:
    """What starts the process of ``run``."""
    order = {
        "flags": run.flags(),
        "key_values": run.key_values(),
        "folder": str(run.folder),
        "lock": str(lock_file(run)),
        "trains": run.trains,
        "tests": None if run.tests is None else str(run.tests.folder),
        "epoch": run.epoch,
        "settings": run.settings(),
    }
    return [sys.executable, "-m", "experiments.one", json.dumps(order)]


def lock_file(run: Run) -> Path:
    """Beside the results' tree, not in the run's folder: one that fails early leaves nothing there."""
    return run.output / ".locks" / hashlib.sha256(run.place.encode()).hexdigest()[:16]


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[bool]:
    """Whether this process has a lock while the block runs.

    Args:
        patience: seconds to wait for it: who only asks whether a run goes on has it for a moment, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        yield _lock(file, time.monotonic() + patience)


def _lock(file: IO[str], deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


def is_running(run: Run) -> bool:
    """Whether a process has the lock of a run's folder."""
    if not lock_file(run).exists():
        return False
    with locked(lock_file(run)) as free:
        return not free


def end_with_parent(parent: int) -> None:
    """Let the death of ``parent`` end this process, and all that it has started."""

    def end(*_: Any) -> None:
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGTERM)
    if os.getppid() != parent:
        end()


def main(order: dict[str, Any]) -> int:
    folder = Path(order["folder"])
    with locked(Path(order["lock"]), patience=1.0) as free:
        if not free:
            print(f"another process runs {folder}: wait for it, or end it", file=sys.stderr)
            return BUSY
        tests = None if order["tests"] is None else Path(order["tests"])
        how = how_words(order["trains"], folder, tests, order["epoch"])
        sys.argv = ["train.py", *order["flags"], *how, *order["key_values"]]
        import train  # only now: it takes seconds

        code = train.main()
        if code == 0:
            write_settings(folder, order["settings"])
        return code


if __name__ == "__main__":
    if parent := os.environ.get("EXPERIMENTS_DRIVER"):
        end_with_parent(int(parent))
    sys.exit(main(json.loads(sys.argv[1])))
