"""Plans through a SLURM of one machine with 4 pretended GPUs. train.py is a stub that works for a moment."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from tests.cluster.toy import Toy
from tests.experiments.test_local import COMMAND, finish, notes, table
from tests.scripts.checkout import Checkout, value

pytestmark = pytest.mark.slurm
SMALL = "base2new --data-sets digits --methods coop --seeds 1"  # 6 runs


def command(checkout: Checkout, toy: Toy, words: str, code: int = 0, **more: str) -> tuple[str, str]:
    return finish(checkout, words, code, **toy.environment, **more)


def submitted(out: str) -> list[str]:
    """The folders of the runs that a command handed over."""
    return re.findall(r"^\d+ +(\S+/seed\d+)$", out, re.MULTILINE)


def wait(toy: Toy, name: str = "", seconds: float = 60) -> None:
    """Until no job is in the queue, or none of a name."""
    deadline = time.monotonic() + seconds
    while toy.call("squeue", "-h", *([f"--name={name}"] if name else [])):
        assert time.monotonic() < deadline, toy.call("squeue")
        time.sleep(0.1)


def backbone_of(folder: str) -> str:
    return folder.replace("CoOp_DPC/demo-released", "CoOp/demo").replace(
        "CoOp_DPC/vit_b16_ep20-released", "CoOp/vit_b16_ep20_lr35"
    )


def check_order(checkout: Checkout, most_on_a_gpu: int) -> None:
    """Nothing begins before what it needs has ended, and GPUs are shared as asked."""
    going: Counter[str] = Counter()
    most: Counter[str] = Counter()
    ended: set[str] = set()
    for what, folder, gpu, _ in notes(checkout):
        going[gpu] += 1 if what == "begin" else -1
        most[gpu] = max(most[gpu], going[gpu])
        if what == "end":
            ended.add(folder)
        elif "/CoOp_DPC/" in folder and "train_base" in folder:
            assert backbone_of(folder) in ended
        elif "test_new" in folder and "Zeroshot" not in folder:
            assert folder.replace("test_new", "train_base") in ended
    assert set(most) == {"0", "1", "2", "3"} and max(most.values()) == most_on_a_gpu


def test_sixty_jobs_make_the_table_of_one_run_after_the_other(checkout: Checkout, toy: Toy) -> None:
    asked = f"{COMMAND} --on slurm --per-gpu 2"
    out, _ = command(checkout, toy, asked, WORK="0.2")
    assert len(set(submitted(out))) == len(submitted(out)) == 60 and not table(out)
    again, _ = command(checkout, toy, asked)  # by now some are done, some run and most wait
    assert not submitted(again)
    seen = ""
    while "running " not in seen and toy.call("squeue", "-h"):
        seen, _ = command(checkout, toy, f"{asked} --status")
    assert "running " in seen and "\nqueued " in seen and "Dependency" in seen
    wait(toy)
    check_order(checkout, most_on_a_gpu=2)
    assert len(notes(checkout)) == 2 * 60
    done, _ = command(checkout, toy, asked)
    assert not submitted(done) and len(notes(checkout)) == 2 * 60
    alone, _ = finish(checkout, f"{COMMAND} --jobs 2 --output alone", WORK="0")
    assert table(done) == table(alone) and len(table(done)) == 2 + 6


def test_a_failed_run_stops_only_what_needs_it(checkout: Checkout, toy: Toy) -> None:
    asked = f"{SMALL} --on slurm"
    out, _ = command(checkout, toy, f"{asked} --retries 2", STUB_FAILS="CoOp", WORK="0")
    assert len(submitted(out)) == 6
    wait(toy)
    counts = Counter(value(call, "--trainer") for call in checkout.calls if "--trainer" in call)
    assert counts == {"ZeroshotCLIP": 2, "CoOp": 3}  # resumed twice; DPC's runs and CoOp's test never began
    seen, _ = command(checkout, toy, f"{asked} --status")
    failed = [line for line in seen.splitlines() if line.startswith("failed")]
    assert len(failed) == 4 and sum("FAILED" in line for line in failed) == 1
    (log,) = re.findall(r"FAILED, (.*)\)", seen)
    assert (checkout.root / log).read_text().count("CoOp says why\nexit code 7") == 3
    mended, _ = command(checkout, toy, asked, WORK="0")
    assert len(submitted(mended)) == 4
    wait(toy)
    assert len(table(command(checkout, toy, asked)[0])) == 2 + 3


def test_an_ended_job_that_slurm_remembers_is_not_waited_for(checkout: Checkout, toy: Toy) -> None:
    only = f"{SMALL} --on slurm --only CoOp/"
    command(checkout, toy, only, STUB_FAILS="CoOp", WORK="0")
    wait(toy)
    # the failed job is still remembered, but is not what the others wait for
    out, _ = command(checkout, toy, f"{SMALL} --on slurm", WORK="0")
    assert len(submitted(out)) == 6
    wait(toy)
    assert "6 runs: 6 done" in command(checkout, toy, f"{SMALL} --on slurm --status")[0]


def test_cancel_ends_the_plans_own_jobs_and_loses_nothing(checkout: Checkout, toy: Toy) -> None:
    asked = f"{SMALL} --on slurm"
    toy.call("sbatch", "--job-name=foreign", "--output=/dev/null", "--wrap=sleep 300")
    other, _ = command(checkout, toy, f"{asked} --output other --only Zeroshot", WORK="300")
    out, _ = command(checkout, toy, asked, WORK="300")
    assert len(submitted(other)) == 2 and len(submitted(out)) == 6
    deadline = time.monotonic() + 30
    while len(notes(checkout)) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "6 jobs cancelled" in command(checkout, toy, f"{asked} --cancel")[0]
    assert len(toy.call("squeue", "-h", "--states=PENDING,RUNNING").splitlines()) == 3
    assert "2 jobs cancelled" in command(checkout, toy, f"{asked} --output other --cancel")[0]
    toy.call("scancel", "--name=foreign")
    wait(toy)
    assert len(submitted(command(checkout, toy, asked, WORK="0")[0])) == 6
    wait(toy)
    assert "6 runs: 6 done" in command(checkout, toy, f"{asked} --status")[0]


def test_a_job_of_other_settings_has_the_folder(checkout: Checkout, toy: Toy) -> None:
    asked = f"{SMALL} --on slurm --only CoOp/"
    command(checkout, toy, asked, WORK="300")
    _, err = command(checkout, toy, f"{asked} --options OPTIM.LR 0.5", code=1)
    assert re.search(r"job \d+ makes \S+/CoOp/\S+ with other settings: wait, or scancel \d+", err)
    command(checkout, toy, f"{asked} --cancel")
    wait(toy)


def test_without_shards_runs_share_a_job(checkout: Checkout, toy_without_shards: Toy) -> None:
    asked = "base2new --data-sets eurosat digits --methods coop --seeds 1 2 --on slurm --per-gpu 2"
    toy = toy_without_shards
    out, _ = command(checkout, toy, asked, WORK="0.4", STUB_FAILS="CoOp_DPC")
    assert len(submitted(out)) == 24 and len(set(re.findall(r"^\d+(?= +\S+/seed)", out, re.MULTILINE))) == 12
    wait(toy)
    assert sum(what == "begin" for what, *_ in notes(checkout)) == 20  # all but the tests of DPC's
    assert sum("CoOp_DPC" in folder and "test_new" in folder for _, folder, *_ in notes(checkout)) == 0
    mended, _ = command(checkout, toy, asked, WORK="0.4")
    assert len(submitted(mended)) == 8
    wait(toy)
    check_order(checkout, most_on_a_gpu=2)
    assert len(table(command(checkout, toy, asked)[0])) == 2 + 6
