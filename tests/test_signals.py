"""Two runs in one folder, and a run that is interrupted: one line, and a folder that can be gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dassl.engine.lock import LOCK_FILE
from tests.conftest import ROOT


@pytest.fixture
def start(data_root: Path, tiny_clip_file: Path, tmp_path: Path):
    """start(*words) -> a training in ``tmp_path/run``; what is left of them is ended."""
    started = []

    def start_run(*words: str) -> subprocess.Popen[str]:
        text = f"train.py --root {data_root} --seed 1 --trainer CoOp --output-dir {tmp_path / 'run'}"
        text += " DATASET.NAME EuroSAT DATALOADER.TRAIN_X.BATCH_SIZE 4 DATALOADER.NUM_WORKERS 2"
        text += f" INPUT.SIZE (32,32) DATASET.NUM_SHOTS 3 MODEL.BACKBONE.PATH {tiny_clip_file}"
        text += " TRAINER.COOP.PREC fp32"
        process = subprocess.Popen(
            [sys.executable, *text.split(), *words],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            # a job in the background ignores it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        started.append(process)
        return process

    yield start_run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def test_an_interrupted_run_ends_in_a_line_and_goes_on(start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("OPTIM.MAX_EPOCH", "200")
    wait_for(folder / "resume.pth.tar")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to its loading processes, too
    output = process.communicate(timeout=30)[0]
    # what a loading process says that is struck while it begins is Python's, and not looked at
    assert process.returncode == 130, output
    assert "interrupted: the same command goes on after the last finished epoch\n" in output
    assert (folder / "resume.pth.tar").exists() and not (folder / LOCK_FILE).exists()
    before = (folder / "resume.pth.tar").stat().st_mtime_ns
    again = start("OPTIM.MAX_EPOCH", "200")
    wait_until(lambda: (folder / "resume.pth.tar").stat().st_mtime_ns != before)
    again.send_signal(signal.SIGINT)
    assert "Resuming" in again.communicate(timeout=30)[0]


def test_of_two_runs_in_one_folder_the_second_is_refused(start, tmp_path: Path) -> None:
    first = start("OPTIM.MAX_EPOCH", "200")
    wait_for(tmp_path / "run/resume.pth.tar")
    before = (tmp_path / "run/log.txt").read_text
    text = before()
    second = start("OPTIM.MAX_EPOCH", "200")
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 1 and f"is in use by process {first.pid} on " in output
    assert "Traceback" not in output and first.poll() is None
    assert before().startswith(text), "the log is still the first one's"


def test_what_is_refused_leaves_nothing(start, tmp_path: Path) -> None:
    process = start("OPTIM.MAX_EPOCH", "2", "RESUME", str(tmp_path))
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "holds no run to resume" in output
    assert not (tmp_path / "run").exists()


def test_an_interrupt_that_python_drops_is_raised_again() -> None:
    code = """
import os, signal
from dassl.utils.interrupt import catch_interrupts, check_interrupt
catch_interrupts()
check_interrupt()
class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
Dropping()
print("went on")
try:
    check_interrupt()
except KeyboardInterrupt:
    print("raised again")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert done.stdout.split("\n") == ["went on", "raised again", ""], done.stderr
    assert not done.stderr
