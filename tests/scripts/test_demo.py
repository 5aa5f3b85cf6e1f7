"""scripts/demo.sh with a stub in place of the trainings."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.scripts.checkout import REPOSITORY, value


@pytest.fixture
def demo(checkout):
    shutil.copy(REPOSITORY / "parse_test_res.py", checkout.root)
    shutil.copytree(REPOSITORY / "reporting", checkout.root / "reporting")
    for name in ("datasets/letters", "trainers/ZeroshotCLIP/demo"):
        (checkout.root / "configs" / f"{name}.yaml").touch()
    return checkout


def test_every_run_once_and_one_table(demo):
    result = demo.run("demo.sh", JOBS="2")
    assert result.returncode == 0, result.stderr
    counts = Counter((value(call, "--trainer"), value(call, "--seed")) for call in demo.calls)
    assert counts == {
        (trainer, seed): runs
        for trainer, runs in (
            ("ZeroshotCLIP", 4),
            ("CoOp", 4),
            ("CoOp_DPC", 16),
        )  # DPC in three readings, and its control
        for seed in "12345"
    }
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert (
        len(rows) == 2 + 12
    )  # header, ruler, two data sets x (two methods, three readings of DPC, its control)
    assert all(row.split()[-2] == "5" for row in rows[2:])
    assert (demo.root / "output/demo/base_new.png").is_file()

    again = demo.run("demo.sh", JOBS="2")
    assert again.returncode == 0 and len(demo.calls) == 120


def test_a_failing_step_stops_the_demo_and_shows_why(demo):
    result = demo.run("demo.sh", JOBS="1", STUB_FAILS="CoOp")
    assert result.returncode != 0
    assert "digits/shots_16/CoOp/demo/seed1 failed with exit code 7" in result.stderr
    assert "| Base" not in result.stdout
    # zero-shot CLIP needs nothing of CoOp, all others do
    assert Counter(value(call, "--trainer") for call in demo.calls) == {"ZeroshotCLIP": 20, "CoOp": 10}
    assert "not run, for what it needs failed: " in result.stdout
