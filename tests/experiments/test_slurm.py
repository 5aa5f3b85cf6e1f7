"""What is asked of SLURM, with stubs for its commands: words, dependencies, errors, clusters' files."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.clusters import Cluster, read_cluster
from tests.experiments.test_local import finish
from tests.scripts.checkout import REPOSITORY, Checkout

SMALL = "base2new --data-sets digits --seeds 1 --on slurm"  # 6 runs
# Records its words and script; SLURM's queue is a file of lines.
STUB = """#!{python}
import json, os, sys
from pathlib import Path

root = Path(os.environ["SLURM_STUB"])
name = Path(sys.argv[0]).name
queue, calls = root / "queue", root / "calls.jsonl"
asked = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
with calls.open("a") as file:
    driver = "EXPERIMENTS_DRIVER" in os.environ
    file.write(json.dumps([name, sys.argv[1:], sys.stdin.read() if name == "sbatch" else "", driver]) + "\\n")
if name == "sinfo":
    print(os.environ.get("GRES", "(null)"))
elif name == "squeue" and queue.exists():
    print(queue.read_text(), end="")
elif name == "sbatch":
    number = 1 + sum(call[0] == "sbatch" for call in asked)
    if number == int(os.environ.get("FAILS_AT", 0)):
        sys.exit("sbatch: error: QOSMaxSubmitJobPerUserLimit")
    words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
    with queue.open("a") as file:
        file.write(f"{{number}}|PENDING|Dependency|{{words['job-name']}}\\n")
    print(f"{{number}};toy")
"""


@pytest.fixture
def checkout(checkout: Checkout) -> Checkout:
    shutil.copytree(REPOSITORY / "configs/clusters", checkout.root / "configs/clusters")
    (checkout.root / "configs/trainers/ZeroshotCLIP/demo.yaml").touch()
    return checkout


@pytest.fixture
def stub(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "slurm"
    (root / "bin").mkdir(parents=True)
    for name in ("sbatch", "squeue", "scancel", "sinfo"):
        path = root / "bin" / name
        path.write_text(STUB.format(python=sys.executable))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STUB", str(root))
    return root


def calls(stub: Path, name: str) -> list[list[Any]]:
    lines = (stub / "calls.jsonl").read_text().splitlines()
    return [call for call in map(json.loads, lines) if call[0] == name]


def said(call: list[Any], name: str) -> str | None:
    values = [word.partition("=")[2] for word in call[1] if word.startswith(f"--{name}=")]
    assert len(values) <= 1
    return values[0] if values else None


def test_a_job_waits_for_what_its_run_needs(checkout: Checkout, stub: Path) -> None:
    finish(checkout, SMALL, GRES="gpu:a100:4(S:0-1),shard:8(S:0,1)", EXPERIMENTS_DRIVER="1")
    jobs = {str(said(job, "comment")): job for job in calls(stub, "sbatch")}
    numbers = {name: str(i) for i, name in enumerate(jobs, 1)}
    coop, dpc = "digits/shots_16/CoOp/demo/seed1", "digits/shots_16/CoOp_DPC/demo-released/seed1"
    train, test = "base2new/train_base", "base2new/test_new"
    waits = {
        name: set((said(job, "dependency") or "").removeprefix("afterok:").split(":"))
        for name, job in jobs.items()
    }
    first = numbers[f"{train}/{coop}"]
    assert waits[f"{train}/{coop}"] == {""}
    assert waits[f"{train}/{dpc}"] == waits[f"{test}/{coop}"] == {first}
    assert numbers[f"{train}/{dpc}"] in waits[f"{test}/{dpc}"] <= {first, numbers[f"{train}/{dpc}"]}
    for _, words, script, has_driver in jobs.values():
        assert ("--kill-on-invalid-dep=yes" in words) == any(
            word.startswith("--dependency") for word in words
        )
        assert {"--gres=gpu:1", "--parsable"} <= set(words) and not has_driver
        assert f"cd {checkout.root}" in script and f"resumed {sys.executable} -m experiments.one" in script
    (log,) = {said(job, "output") for job in [jobs[f"{train}/{coop}"]]}
    assert log == str(checkout.root / "output/logs/base2new-train_base-digits-shots_16-CoOp-demo-seed1.txt")


@pytest.mark.parametrize(
    ("has", "words", "asked", "jobs"),
    [
        ("gpu:4,shard:8", "", "gpu:1", 6),  # a run that shares no GPU has a whole one
        ("gpu:4,shard:8", "--per-gpu 2", "shard:1", 6),
        (
            "gpu:a100:4(S:0-1),shard:a100:32(S:0-1)",
            "--per-gpu 3",
            "shard:3",
            6,
        ),  # 8 shards a GPU: at most 2 x 3
        ("gpu:4", "--per-gpu 2", "gpu:1", 4),  # (2 + 1 runs at first, then 2, then 1) by 2
        ("(null)", "--per-gpu 2", None, 6),
    ],
)
def test_shares_of_gpus(
    checkout: Checkout, stub: Path, has: str, words: str, asked: str | None, jobs: int
) -> None:
    finish(checkout, f"{SMALL} {words}", GRES=has)
    found = calls(stub, "sbatch")
    assert {said(job, "gres") for job in found} == {asked} and len(found) == jobs


def test_a_refused_job_in_the_middle(checkout: Checkout, stub: Path) -> None:
    out, err = finish(checkout, SMALL, code=1, FAILS_AT="4")
    assert (
        "QOSMaxSubmitJobPerUserLimit\n3 of 6 jobs were handed over, see above; the same command goes on"
        in err
    )
    handed = re.findall(r"^\d+ +(\S+)$", out, re.MULTILINE)
    rest = re.findall(r"^\d+ +(\S+)$", finish(checkout, SMALL)[0], re.MULTILINE)
    assert len(handed) == 3 and len(rest) == 3 and not set(handed) & set(rest)
    last = calls(stub, "sbatch")[-1]
    assert set(str(said(last, "dependency")).removeprefix("afterok:").split(":")) <= {"3", "5", "6"}


def test_without_slurm(checkout: Checkout) -> None:
    _, err = finish(checkout, SMALL, code=1, PATH=str(checkout.root))
    assert "--on slurm needs SLURM's commands, but sinfo was not found; run it where sbatch works" in err


def test_a_cluster_has_its_words(checkout: Checkout, stub: Path) -> None:
    (checkout.root / "configs/clusters/mine.yaml").write_text(
        'partition: gpu\naccount: us\ntime: "1:00:00"\ngres: gpu:h100:1\n'
        "setup: [module load x]\noptions: [--mem=4G]\n"
    )
    finish(checkout, f"{SMALL} --cluster mine")
    assert not calls(stub, "sinfo")
    for _, words, script, _ in calls(stub, "sbatch"):
        asked = {"--partition=gpu", "--account=us", "--time=1:00:00", "--gres=gpu:h100:1", "--mem=4G"}
        assert asked <= set(words)
        assert (
            script.index(f"cd {checkout.root}")
            < script.index("\nmodule load x\n")
            < script.index("resumed /")
        )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "partitions: gpu",
            r"mine.yaml has the key 'partitions'; remove it, or use one of: partition account",
        ),
        ("time: 12:00:00", r"mine.yaml: time is 43200, but must be a text: put it in quotes"),
        ("setup: module load x", r"mine.yaml: setup is 'module load x', but must be a list of texts"),
        ("options: [-p gpu]", r"options has '-p gpu', but each must be '--name=value' or '--name'"),
        ("options: ['--mem 4G']", r"options has '--mem 4G', but each must be"),
        ("options: [--gres=gpu:1]", r"options has '--gres=gpu:1', which .*: use the key gres"),
        ("options: [--job-name=x]", r"options has '--job-name=x', which .*: remove it"),
        ("- partition", r"mine.yaml must have KEY: VALUE lines, but is a list"),
        ("setup: !!python/object/apply:os.getcwd []", r"mine.yaml is not YAML"),
    ],
)
def test_a_clusters_file_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setattr("experiments.clusters.CONFIGS", tmp_path)
    monkeypatch.setattr("experiments.catalogue.CONFIGS", tmp_path)
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters/mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=why):
        read_cluster("mine")
    with pytest.raises(ValueError, match=r"--cluster 'your' is not in configs/clusters, which has: mine"):
        read_cluster("your")


def test_the_clusters_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert read_cluster("default") == Cluster()
    assert all(getattr(read_cluster("example"), key) for key in Cluster.__dataclass_fields__)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--on slrum", "--on is 'slrum', but must be local, slurm or parsl:FILE.py"),
        ("--on parsl", "--on is 'parsl', but must be local, slurm or parsl:FILE.py"),
        ("--cancel", "--cluster and --cancel are for --on slurm"),
        ("--cluster example", "--cluster and --cancel are for --on slurm"),
        ("--on slurm --gpus 0", "--gpus is for --on local"),
        ("--on slurm --cluster none", "--cluster 'none' is not in configs/clusters"),
    ],
)
def test_words_of_another_place(checkout: Checkout, stub: Path, words: str, why: str) -> None:
    _, err = finish(checkout, f"base2new --data-sets digits --seeds 1 {words}", code=1)
    assert why in err and not (stub / "calls.jsonl").exists()
