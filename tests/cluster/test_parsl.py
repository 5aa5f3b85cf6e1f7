"""Plans through Parsl: on this machine, and by pilot jobs of a SLURM of one machine. train.py is a stub."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from experiments.guard import carriers
from tests.cluster.toy import Toy
from tests.experiments.test_local import alive, finish, notes, start, table
from tests.scripts.checkout import Checkout, value

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("parsl"), reason="Parsl is not installed")
PLAN = "base2new --data-sets digits --methods coop --seeds 1 2"  # 12 runs
CONFIG = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider, SlurmProvider

pilot = {{"init_blocks": 1, "max_blocks": 1}}
config = Config(
    run_dir="{run_dir}",
    executors=[HighThroughputExecutor(
        label="gpus", address="127.0.0.1", available_accelerators=["0", "1"], max_workers_per_node=2,
        heartbeat_period=2, heartbeat_threshold=120, provider={provider},
    )],
)
"""
PROVIDERS = {
    "local": "LocalProvider(**pilot)",
    "slurm": 'SlurmProvider(partition="main", exclusive=False, walltime="0:10:00", **pilot)',
}


@pytest.fixture(params=[pytest.param("local"), pytest.param("slurm", marks=pytest.mark.slurm)])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """--on parsl:FILE.py."""
    if request.param == "slurm":
        toy: Toy = request.getfixturevalue("toy")
        for name, text in toy.environment.items():
            monkeypatch.setenv(name, text)
    file = tmp_path / f"on_{request.param}.py"
    file.write_text(CONFIG.format(run_dir=tmp_path / "runs", provider=PROVIDERS[request.param]))
    return f"--on parsl:{file}"


def test_a_plan_makes_the_table_of_one_run_after_the_other(checkout: Checkout, where: str) -> None:
    out, _ = finish(checkout, f"{PLAN} {where}", WORK="0")
    assert len(notes(checkout)) == 2 * 12
    assert {gpu for _, _, gpu, _ in notes(checkout)} == {"0", "1"}
    ended: set[str] = set()
    for what, folder, *_ in notes(checkout):
        if what == "end":
            ended.add(folder)
        elif "test_new" in folder and "Zeroshot" not in folder:
            assert folder.replace("test_new", "train_base") in ended
    alone, _ = finish(checkout, f"{PLAN} --jobs 2 --output alone", WORK="0")
    assert table(out) == table(alone) and len(table(out)) == 2 + 3
    assert table(finish(checkout, f"{PLAN} {where}")[0]) == table(out)


def test_a_driver_that_is_killed_leaves_nothing_behind_and_loses_nothing(
    checkout: Checkout, where: str
) -> None:
    driver = start(checkout, f"{PLAN} {where}", WORK="0.5")
    deadline = time.monotonic() + 60
    while len(notes(checkout)) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    name = next(
        word.removeprefix("EXPERIMENTS_POOL=")
        for word in Path(f"/proc/{notes(checkout)[-1][-1]}/environ").read_text().split("\0")
        if word.startswith("EXPERIMENTS_POOL=")
    )
    ours = set(carriers(name))
    titles = [Path(f"/proc/{pid}/cmdline").read_text() for pid in ours if alive({pid})]
    assert any("interchange" in title for title in titles) and len(ours) > 4
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=10)
    while (alive(ours) or carriers(name) or jobs_called(name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(ours) and not carriers(name) and not jobs_called(name)
    out, _ = finish(checkout, f"{PLAN} {where}", WORK="0")
    assert len(table(out)) == 2 + 3 and all(row.split("|")[-2].strip() == "2" for row in table(out)[2:])


def jobs_called(name: str) -> list[str]:
    if "SLURM_CONF" not in os.environ:
        return []
    words = ["squeue", "-h", "--states=PENDING,RUNNING", f"--name={name}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_failed_run_stops_only_what_needs_it(checkout: Checkout, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text(CONFIG.format(run_dir=tmp_path / "runs", provider=PROVIDERS["local"]))
    asked = f"base2new --data-sets digits --methods coop --seeds 1 --on parsl:{file} --retries 1"
    out, err = finish(checkout, asked, code=1, WORK="0", STUB_FAILS="CoOp_DPC")
    counts = Counter(value(call, "--trainer") for call in checkout.calls if "--trainer" in call)
    assert counts == {"ZeroshotCLIP": 2, "CoOp": 2, "CoOp_DPC": 2}
    assert out.count("failed with exit code 7; once more") == 1 and "CoOp_DPC says why" in err
    assert out.count("not run, for what it needs failed") == 1 and not table(out)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no file"),
        ("config = 3", "must define config, a parsl.config.Config, but it is 3"),
        ("1 / 0", "config.py fails: ZeroDivisionError: division by zero"),
    ],
)
def test_the_file_is_looked_at_first(checkout: Checkout, tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "config.py"
    if text is not None:
        file.write_text(text)
    _, err = finish(checkout, f"base2new --data-sets digits --seeds 1 --on parsl:{file}", code=1)
    assert why in err and not notes(checkout)


def test_a_folder_that_parsl_would_wait_in_forever(checkout: Checkout, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text("from parsl.config import Config\nconfig = Config()")
    _, err = finish(checkout, f"base2new --data-sets digits --seeds 1 --on parsl:{file}", code=1)
    assert " " in str(checkout.root) and "set run_dir to a path of plain characters" in err
