"""Two processes compute one run: what one process computes, to rounding, and written once."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.trainers import pair
from tests.trainers.test_contracts import CASES, Case, ids, kept, make

Build = Callable[..., Any]
__all__ = ["kept", "make"]

# 9 images in batches of 4, 4 and 1, of which the first process has no row; 5 batches of test images
OPTIONS = ("DATALOADER.TRAIN_X.DROP_LAST", "False", "DATALOADER.TEST.BATCH_SIZE", "2")
OPTIONS += ("TEST.SAVE_LOGITS", "True")
SMALL_STEPS = (
    "OPTIM.LR",
    "1e-5",
)  # at a rate of 0.01, PromptKD's batch norm blows rounding up in a few steps
COOP = Case("CoOp", ("TRAINER.COOP.N_CTX", "4"))
DPC = Case("CoOp_DPC", ("TRAINER.COOP.N_CTX", "4"))
VPT = next(case for case in CASES if case.trainer == "VPT")
SRC = next(case for case in CASES if case.trainer == "PromptSRC")


def torchrun(*words: str, cache: Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port)]
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "XDG_CACHE_HOME": str(cache)}
    return subprocess.run(
        [sys.executable, *launcher, *words],
        cwd=ROOT,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )


def moved_to(cfg: Any, folder: Path) -> Any:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder)
    cfg.freeze()
    return cfg


def checkpoint(folder: Path, epoch: int = 2) -> dict[str, Any]:
    [path] = folder.glob(f"*/model.pth.tar-{epoch}")
    return torch.load(path)


def seen(folder: Path) -> list[dict[str, Any]]:
    """What each process encoded and trained on, see `pair.run`."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("seen-*.json"))]


def gradients(state: Mapping[str, Any]) -> list[torch.Tensor]:
    """The momentum of the optimiser: the gradients of all steps, the last ones most."""
    return [entry["momentum_buffer"] for entry in state["optimizer"]["state"].values()]


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What each line of the run's results says."""
    found = [json.loads(line)["metrics"] for line in (folder / "results.jsonl").read_text().splitlines()]
    # the only one that is not of counts, so of the rounding of sums
    return [{**each, "ece": pytest.approx(each["ece"], abs=1e-3)} for each in found]


EXTRA = {
    "best epoch": (COOP, ("TEST.FINAL_MODEL", "best_val"), ""),
    "resumed": (DPC, (), "interrupted"),
    "resumed mean": (SRC, (), "interrupted"),
    "cached": (COOP, (), ""),  # image features of an earlier case
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where runs on one process and on two lie."""
    return {name: tmp_path_factory.mktemp(name) for name in ("one", "two", "cache")}


@pytest.fixture
def pairs(make: Build, build: Build, folders: dict[str, Path]) -> dict[str, Path]:
    """Folders of all cases' runs on one process and on two, trained once."""
    if (folders["two"] / "output.txt").exists():
        return folders
    cases = {
        name: (case, SMALL_STEPS if case.backbone == "PromptKD" else (), "")
        for name, case in zip(ids, CASES, strict=True)
    } | EXTRA
    jobs: dict[str, list[Any]] = {"one": [], "two": []}
    for name, (case, options, how) in cases.items():
        cfg = make(case, *OPTIONS, *options).cfg
        for place, done in jobs.items():
            done.append((moved_to(cfg, folders[place] / name), how if place == "two" else ""))
    unseeded = build("CoOp", *OPTIONS, "TRAINER.COOP.PREC", "fp32", seed=-1).cfg
    jobs["two"].append((moved_to(unseeded, folders["two"] / "unseeded"), ""))
    careless = make(VPT, *OPTIONS).cfg
    jobs["two"].append((moved_to(careless, folders["two"] / "careless"), "careless"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folders["cache"] / "one"))  # where nothing is kept yet
        pair.run(jobs["one"])
    (folders["two"] / "jobs.pkl").write_bytes(pickle.dumps(jobs["two"]))
    result = torchrun("-m", "tests.trainers.pair", str(folders["two"] / "jobs.pkl"), cache=folders["cache"])
    (folders["two"] / "output.txt").write_text(f"{result.returncode}\n{result.stdout}")
    return folders


def test_all_runs_have_come_to_their_end(pairs: dict[str, Path]) -> None:
    """That of a step which forgets to sum gradients with an error, as `pair` expects."""
    output = (pairs["two"] / "output.txt").read_text()
    assert output.startswith("0\n") and output.count("all done") == 1, output
    assert not (pairs["two"] / "careless" / "resume.pth.tar").exists()


@pytest.mark.parametrize("name", [*ids, *EXTRA])
def test_two_processes_compute_what_one_does(pairs: dict[str, Path], name: str) -> None:
    one, two = pairs["one"] / name, pairs["two"] / name
    expected, found = checkpoint(one), checkpoint(two)
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for key, tensor in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][key], tensor, atol=1e-5, rtol=1e-4)
    largest = max(float(tensor.abs().max()) for tensor in gradients(expected))
    assert largest > 1e-3
    for ours, theirs in zip(gradients(found), gradients(expected), strict=True):
        # That of a bias in front of a batch norm is nothing but rounding.
        bound = 1e-3 * float(theirs.abs().max()) + 1e-4 * largest
        torch.testing.assert_close(ours, theirs, rtol=0, atol=bound)

    assert metrics(one) == metrics(two) and metrics(one)[-1]["total"] == 9
    assert len(metrics(one)) == (3 if name == "best epoch" else 1)
    alone, together = np.load(one / "logits.npz"), np.load(two / "logits.npz")
    for key in ("impath", "label", "classnames"):
        assert together[key].tolist() == alone[key].tolist()
    np.testing.assert_allclose(together["logits"], alone["logits"], atol=1e-4, rtol=0)
    assert {path.name for path in two.rglob("*")} - {"seen-1.json"} == {path.name for path in one.rglob("*")}


@pytest.mark.parametrize("name", ids)
def test_what_is_expensive_is_shared(pairs: dict[str, Path], name: str) -> None:
    [alone], shares = ([s["rows"] for s in seen(pairs[place] / name)] for place in ("one", "two"))
    assert len(shares) == 2
    expensive = ["encode_image", *(["encode_embeddings"] if "CoCoOp" in name else [])]
    for method in expensive:
        assert sum(share[method] for share in shares) >= alone[method] > 0
        assert max(share[method] for share in shares) <= 0.75 * alone[method]


def test_a_run_that_goes_on_is_the_uninterrupted_one_bit_for_bit(pairs: dict[str, Path]) -> None:
    whole, resumed = pairs["two"] / "CoOp_DPC-4", pairs["two"] / "resumed"
    for found, expected in zip(*(gradients(checkpoint(run)) for run in (whole, resumed)), strict=True):
        assert torch.equal(found, expected)
    assert not (resumed / "resume.pth.tar").exists()


@pytest.mark.parametrize("name", ids)
def test_all_have_the_mini_batches_of_one_process(pairs: dict[str, Path], name: str) -> None:
    [alone], (first, second) = ([s["batches"] for s in seen(pairs[place] / name)] for place in ("one", "two"))
    assert first == second == alone and len(alone) >= 6


def test_without_a_seed_all_draw_what_the_main_process_does(pairs: dict[str, Path]) -> None:
    first, second = seen(pairs["two"] / "unseeded")
    assert first["batches"] == second["batches"]
    assert metrics(pairs["two"] / "unseeded")[-1]["total"] == 9


@pytest.fixture
def command(data_root: Path, tiny_clip_file: Path, tmp_path: Path) -> list[str]:
    words = f"train.py --root {data_root} --seed 1 --trainer CoOp --output-dir {tmp_path / 'run'} --eval-only"
    words += " DATASET.NAME EuroSAT INPUT.SIZE (32,32) TRAINER.COOP.PREC fp32 DATALOADER.TEST.BATCH_SIZE 4"
    words += f" DATALOADER.NUM_WORKERS 2 MODEL.BACKBONE.PATH {tiny_clip_file}"
    return words.split()


def test_torchrun_speaks_with_one_voice(command: list[str], tmp_path: Path) -> None:
    result = torchrun(*command, cache=tmp_path / "cache")
    assert result.returncode == 0, result.stdout
    for line in ("=> result", "* total: 18", "Evaluating the test split"):
        assert result.stdout.count(line) == 1, result.stdout
    assert metrics(tmp_path / "run")[0]["total"] == 18
    assert len(list((tmp_path / "run").glob("log.txt*"))) == 1
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1


def test_an_error_of_all_is_said_once(command: list[str], tmp_path: Path) -> None:
    result = torchrun(*command, "TRAINER.COOP.PREC", "fp8", cache=tmp_path)
    assert result.returncode != 0
    assert result.stdout.count("error: TRAINER.COOP.PREC is 'fp8'") == 1, result.stdout
    assert "RuntimeError" not in result.stdout and not (tmp_path / "run").exists()


def test_an_error_of_one_ends_all(command: list[str], data_root: Path, tmp_path: Path) -> None:
    """The second process alone loads the second batch of test images."""
    root = shutil.copytree(data_root, tmp_path / "broken")
    [image] = root.rglob("Forest/test_2.png")  # the sixth
    image.write_bytes(b"no image")
    command[command.index(str(data_root))] = str(root)
    result = torchrun(*command, cache=tmp_path / "cache")
    assert result.returncode != 0
    assert result.stdout.count("error: ") == 1 and f"{str(image)!r} cannot be read" in result.stdout, (
        result.stdout
    )
    assert "RuntimeError" not in result.stdout and not (tmp_path / "run/results.jsonl").exists()
