"""A pool of processes: places, failures, endings. train.py is a stub that works for a moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments.local import find_gpus, slots
from tests.scripts.checkout import REPOSITORY, Checkout, value

# works in small pieces, and says when it began, where and when it ended
BUSY = """
import json as _json, os as _os, sys as _sys, time as _time
_main = main


def main():
    folder = _sys.argv[_sys.argv.index("--output-dir") + 1]
    def note(what):
        line = _json.dumps([what, folder, _os.environ.get("CUDA_VISIBLE_DEVICES", ""), _os.getpid()])
        fd = _os.open(_os.environ["NOTES"], _os.O_APPEND | _os.O_CREAT | _os.O_WRONLY)
        _os.write(fd, (line + "\\n").encode())
        _os.close(fd)
    note("begin")
    _time.sleep(float(_os.environ.get("WORK", "0.05")))
    code = _main()
    note("end")
    return code
"""
COMMAND = "base2new --data-sets eurosat digits --methods coop --seeds 1 2 3 4 5"  # 2 x 5 x (2 + 4) = 60 runs


@pytest.fixture
def checkout(checkout: Checkout) -> Checkout:
    with (checkout.root / "train.py").open("a") as file:
        file.write(BUSY)
    shutil.copy(REPOSITORY / "parse_test_res.py", checkout.root)
    shutil.copytree(REPOSITORY / "reporting", checkout.root / "reporting")
    (checkout.root / "configs/trainers/ZeroshotCLIP/demo.yaml").touch()
    return checkout


def environment(checkout: Checkout, **more: str) -> dict[str, str]:
    notes = str(checkout.root / "notes.jsonl")
    return {**os.environ, "CALLS": str(checkout.calls_file), "NOTES": notes, **more}


def start(checkout: Checkout, words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *words.split()], cwd=checkout.root, text=True,
        env=environment(checkout, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def finish(checkout: Checkout, words: str, code: int = 0, **more: str) -> tuple[str, str]:
    out, err = (process := start(checkout, words, **more)).communicate(timeout=120)
    assert process.returncode == code, out + err
    return out, err


def notes(checkout: Checkout) -> list[list[Any]]:
    path = checkout.root / "notes.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pids: set[int]) -> set[int]:
    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    return {pid for pid in pids if lives(pid)}


def table(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("|")]


def test_sixty_runs_on_four_gpus_by_two_make_the_table_of_one_at_a_time(checkout: Checkout) -> None:
    out, _ = finish(checkout, f"{COMMAND} --gpus 0,1,2,3 --per-gpu 2")
    going: Counter[str] = Counter()
    most: Counter[str] = Counter()
    ended: set[str] = set()
    for what, folder, gpu, _ in notes(checkout):
        going[gpu] += 1 if what == "begin" else -1
        most[gpu] = max(most[gpu], going[gpu])
        if what == "end":
            ended.add(folder)
        elif "/CoOp_DPC/" in folder and "train_base" in folder:  # never before its backbone has ended
            assert (
                folder.replace("CoOp_DPC/vit_b16_ep20-released", "CoOp/vit_b16_ep20_lr35").replace(
                    "CoOp_DPC/demo-released", "CoOp/demo"
                )
                in ended
            )
    assert set(most) == {"0", "1", "2", "3"} and max(most.values()) == 2
    assert len(checkout.calls) == 60 + 1 and len(ended) == 60  # and the check of the data
    alone, _ = finish(checkout, f"{COMMAND} --gpus 0 --output alone", WORK="0")
    assert table(alone) == table(out) and len(table(out)) == 2 + 6
    again, _ = finish(checkout, f"{COMMAND} --gpus 0,1,2,3 --per-gpu 2")
    assert table(again) == table(out) and len(checkout.calls) == 2 * 61


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_ends_leaves_nothing_behind_and_loses_nothing(
    checkout: Checkout, ending: signal.Signals
) -> None:
    for wanted in (5, 20, 40):
        driver = start(checkout, f"{COMMAND} --jobs 4", WORK="0.2")
        deadline = time.monotonic() + 60
        while sum(what == "begin" for what, *_ in notes(checkout)) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        driver.send_signal(ending)
        driver.wait(timeout=20)
        assert driver.returncode == (-9 if ending is signal.SIGKILL else 130)
        pids = {pid for *_, pid in notes(checkout)}
        while alive(pids) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not alive(pids)
    out, _ = finish(checkout, f"{COMMAND} --jobs 4", WORK="0")
    ended = [folder for what, folder, *_ in notes(checkout) if what == "end"]
    assert sorted(ended) == sorted(set(ended)) and len(ended) == 60  # no run was made twice
    assert len(table(out)) == 2 + 6 and all(row.split("|")[-2].strip() == "5" for row in table(out)[2:])


def test_a_killed_worker_is_a_failed_run_and_is_resumed_on_request(checkout: Checkout) -> None:
    driver = start(checkout, f"{COMMAND} --jobs 2 --retries 1", WORK="0.3")
    while not notes(checkout):
        time.sleep(0.01)
    os.kill(notes(checkout)[0][3], signal.SIGKILL)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err
    assert "failed with exit code -9; once more" in out and len(table(out)) == 2 + 6


def test_a_failed_run_stops_only_what_needs_it(checkout: Checkout) -> None:
    out, err = finish(checkout, f"{COMMAND} --jobs 4", code=1, STUB_FAILS="CoOp_DPC", WORK="0")
    counts = Counter(value(call, "--trainer") for call in checkout.calls if "--trainer" in call)
    assert counts == {"ZeroshotCLIP": 20, "CoOp": 20, "CoOp_DPC": 10}
    assert err.count("CoOp_DPC says why") == 10 and err.count("failed with exit code 7") == 10
    assert out.count("not run, for what it needs failed") == 10 and not table(out)


def test_two_drivers_do_not_make_one_run(checkout: Checkout) -> None:
    first = start(checkout, "base2new --data-sets digits --seeds 1 --jobs 1", WORK="120")
    while not notes(checkout):
        time.sleep(0.01)
    folder = notes(checkout)[0][1]
    out, _ = finish(checkout, "base2new --data-sets digits --seeds 1 --status")
    assert f"running      {folder}" in out
    _, err = finish(checkout, "base2new --data-sets digits --seeds 1 --jobs 1", code=1, WORK="0")
    assert f"another process runs {folder}" in err
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert sum(what == "begin" and name == folder for what, name, *_ in notes(checkout)) == 1


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert slots([], 1, None) == [{}]
    assert slots([], 1, 3) == [{"OMP_NUM_THREADS": "1"}] * 3
    gpus = slots(["0", "1"], 2, None)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in gpus] == ["0", "1", "0", "1"]
    assert {place["OMP_NUM_THREADS"] for place in gpus} == {"3"}
    assert len(slots(["0", "1"], 2, 3)) == 3
    with pytest.raises(ValueError, match="--jobs is 5, but there is room for 4: raise --per-gpu"):
        slots(["0", "1"], 2, 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert find_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert find_gpus() == ["3", "5"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # the user's word
    assert slots([], 1, 2) == [{}, {}]


def test_only_what_has_begun_is_resumed(checkout: Checkout) -> None:
    """A failed run and what it needs, and nothing that was not started."""
    words = "base2new --data-sets eurosat --methods coop --seeds 1"
    finish(checkout, words, code=1, STUB_FAILS="CoOp_DPC")
    before = len(checkout.calls)
    out, _ = finish(checkout, f"{words} --resume-failed --plan")
    assert [line.split()[:2] for line in out.splitlines() if "CoOp_DPC" in line] == [["to", "run"]], (
        "its tests were never started"
    )
    finish(checkout, f"{words} --resume-failed")
    new = checkout.calls[before:]
    trained = [value(call, "--trainer") for call in new if "--trainer" in call]
    assert trained == ["CoOp_DPC"] and "--eval-only" not in new[-1]
    calls = len(checkout.calls)
    finish(checkout, f"{words} --resume-failed")
    assert len(checkout.calls) == calls, "all that had begun is done"
    finish(checkout, words)
    assert value(checkout.calls[-1], "--trainer") == "CoOp_DPC" and "--eval-only" in checkout.calls[-1]
