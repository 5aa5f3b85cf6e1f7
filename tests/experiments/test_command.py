"""`python -m experiments`: what it understands, and what it refuses before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def call(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("base2new", 2, "--data-sets"),
        ("base2new --data-sets eurosatt", 1, "unknown data set 'eurosatt'"),
        ("base2new --data-sets dtd --methods zsclip --plugins", 1, "--methods has 'zsclip'; known:"),
        ("upgrade --data-sets dtd", 1, "--old and --new must name a CLIP each"),
        ("upgrade --data-sets dtd --old ViT-B/16 --new gone.pt", 1, "no file of CLIP's weights at 'gone.pt'"),
        ("upgrade --data-sets dtd --plugins dept", 1, "--plugins dept is not for upgrade"),
        ("base2new --data-sets dtd --methods coup", 1, "--methods has 'coup'; known: cocoop coop"),
        ("base2new --data-sets dtd --seeds -1", 1, "--seeds has -1"),
        ("base2new --data-sets dtd --shots 0", 1, "--shots is 0"),
        ("base2new --data-sets dtd --options 0.1", 1, "--options begins with '0.1'"),
        ("base2new --data-sets dtd --dpc TOPK 4", 1, "--dpc begins with 'TOPK'"),
        ("base2new --data-sets dtd --cfg nope", 1, "CoOp_DPC has no configuration 'nope'"),
        ("base2new --data-sets dtd --only nothing --plan", 1, "--only 'nothing' matches none"),
        ("paper --table 7", 2, "invalid choice"),
        ("xd --source nowhere", 1, "unknown data set 'nowhere'"),
    ],
)
def test_what_is_wrong_is_said(words: str, code: int, said: str) -> None:
    result = call(*words.split())
    assert result.returncode == code and said in result.stderr, result.stderr
    assert "Traceback" not in result.stderr


def test_a_data_set_that_is_named_twice_is_one(tmp_path: Path) -> None:
    words = f"base2new --data-sets dtd demo dtd digits --plugins --seeds 1 --plan --output {tmp_path}"
    assert call(*words.split()).stdout.endswith("12 runs: 12 to run\n")


def test_where_nothing_has_begun_there_is_nothing_to_resume(tmp_path: Path) -> None:
    words = f"base2new --data-sets digits --model demo --seeds 1 --resume-failed --output {tmp_path}"
    result = call(*words.split())
    assert result.returncode == 0 and "of none that has begun anything is missing" in result.stdout
    assert result.stderr == "" and not list(tmp_path.iterdir())


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = "--data-sets demo --model demo --methods coop maple --seeds 1 --dpc TRAINER.DPC.TOPK 4 --plan"
    result = call("base2new", "--output", output, *words.split())
    assert result.returncode == 0 and result.stdout.endswith("20 runs: 20 to run\n")
    assert result.stdout.count("CoOp_DPC/demo+TOPK=4-released") == 4 and not output.exists()
    status = call("base2new", "--output", output, *words.replace("--plan", "--status").split())
    assert status.stdout == "20 runs: 20 to run\n" and not output.exists()


def test_dept_stands_beside_each_method_without_dpc_on_it(tmp_path: Path) -> None:
    words = ("--output", tmp_path, "--data-sets", "digits", "--model", "demo", "--seeds", "1", "--plan")
    plugins = ("--plugins", "dpc", "dept", "--options", "TRAINER.DEPT.WEIGHT", "0.5")
    result = call("base2new", *words, "--methods", "coop", *plugins)
    assert result.returncode == 0 and result.stdout.endswith("8 runs: 8 to run\n"), result.stderr
    assert result.stdout.count("/CoOp_DePT/demo/") == 2 and "DePT_DPC" not in result.stdout
    result = call("base2new", *words, "--methods", "cocoop", "--plugins", "dept")
    assert result.returncode == 1 and "known: coop kgcoop maple promptsrc" in result.stderr


@pytest.mark.slow
def test_a_whole_protocol_and_its_page(tmp_path: Path) -> None:
    words = "--data-sets digits --model demo --seeds 1 --jobs 2 --options OPTIM.MAX_EPOCH 1"
    result = call("base2new", "--output", tmp_path, *words.split())
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [line.split("|")[2].strip() for line in result.stdout.splitlines() if line.startswith("| Digits")]
    assert rows == ["Zero-shot CLIP", "CoOp", "CoOp + DPC (released)"]
    again = call("base2new", "--output", tmp_path, *words.split())
    assert again.returncode == 0 and again.stdout.splitlines()[-5:] == result.stdout.splitlines()[-5:]
    other = call("base2new", "--output", tmp_path, *words.replace("MAX_EPOCH 1", "MAX_EPOCH 2").split())
    assert other.returncode == 1 and "OPTIM.MAX_EPOCH was 1, now 2" in other.stderr
    assert call("report", tmp_path).returncode == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "CoOp + DPC (released)" in page and "Zero-shot CLIP" in page
