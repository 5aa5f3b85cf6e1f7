"""One run a folder: a lock that says whose it is, and outlives nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dassl.engine import lock
from dassl.engine.lock import LOCK_FILE, locked_folder
from tests.conftest import ROOT

HOLD = """
import sys, time
from dassl.engine.lock import locked_folder
with locked_folder(sys.argv[1]):
    print(1, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"1\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_told_whose_the_folder_is(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}' is in use by process {holder.pid} on .* \(seen 20"):
        with locked_folder(str(tmp_path)):
            pass
    assert (tmp_path / LOCK_FILE).exists(), "the lock is still the holder's"


def test_the_lock_of_a_killed_run_is_taken_over_and_its_leftovers_removed(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    (tmp_path / "prompt_learner").mkdir()
    left = [
        tmp_path / f".resume.pth.tar.{'0' * 32}.tmp",
        tmp_path / f"prompt_learner/.checkpoint.{'f' * 32}.tmp",
    ]
    mine = tmp_path / ".notes.tmp"
    for path in (*left, mine):
        path.touch()
    start = time.monotonic()
    with locked_folder(str(tmp_path)):
        assert not any(path.exists() for path in left) and mine.exists()
    assert time.monotonic() - start < 5
    assert not (tmp_path / LOCK_FILE).exists()


def test_another_machine_s_lock_is_taken_over_once_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE", 1.0)
    monkeypatch.setattr(lock, "SIGN_OF_LIFE", 0.2)
    with locked_folder(str(tmp_path)):
        record = (tmp_path / LOCK_FILE).read_text()
    assert str(os.getpid()) in record
    (tmp_path / LOCK_FILE).write_text(record.replace(os.uname().nodename, "elsewhere"))
    start = time.monotonic()
    with locked_folder(str(tmp_path)):
        assert time.monotonic() - start > 0.5, "it may be alive: it is waited for"
