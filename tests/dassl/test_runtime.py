"""Where and how a run computes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from dassl.engine import runtime
from dassl.engine.runtime import Precision, Runtime, check_precision, find_runtime, supported_precision
from tests.dassl.tiny import tiny_trainer

ROOT = Path(__file__).resolve().parents[2]
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("name", "towers", "autocast", "scales"),
    [
        ("fp32", torch.float32, None, False),
        ("fp16", torch.float16, None, False),
        ("bf16", torch.bfloat16, None, False),
        ("amp", torch.float32, torch.float16, True),
        ("amp_bf16", torch.float32, torch.bfloat16, False),
    ],
)
def test_what_a_precision_means(
    name: str, towers: torch.dtype, autocast: torch.dtype | None, scales: bool
) -> None:
    precision = Precision(name, "cpu")
    assert precision.towers == towers
    assert (precision.scaler() is not None) == scales
    with precision.autocast():
        assert torch.is_autocast_enabled("cpu") == (autocast is not None)
        if autocast is not None:
            assert torch.get_autocast_dtype("cpu") == autocast
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (autocast or torch.float32)
    assert not torch.is_autocast_enabled("cpu")


def test_the_table_above_is_whole() -> None:
    assert runtime.PRECISIONS == ("fp32", "fp16", "bf16", "amp", "amp_bf16")
    with pytest.raises(ValueError, match=r"TRAINER\.X\.PREC is 'fp8'; it must be one of fp32, fp16, bf16"):
        check_precision("TRAINER.X.PREC", "fp8")


@pytest.mark.parametrize(
    ("asked", "device", "gpu_has_bf16", "given"),
    [
        ("fp16", CPU, False, "fp32"),
        ("amp", CPU, False, "fp32"),
        ("bf16", CPU, False, "bf16"),
        ("amp_bf16", CPU, False, "amp_bf16"),
        ("fp32", CPU, False, "fp32"),
        ("fp16", GPU, False, "fp16"),
        ("amp", GPU, False, "amp"),
        ("bf16", GPU, False, "fp32"),
        ("amp_bf16", GPU, False, "fp32"),
        ("bf16", GPU, True, "bf16"),
        ("amp_bf16", GPU, True, "amp_bf16"),
    ],
)
def test_what_a_device_has_no_use_for_runs_in_fp32_with_a_warning(
    asked: str,
    device: torch.device,
    gpu_has_bf16: bool,
    given: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: gpu_has_bf16)
    assert supported_precision("TRAINER.X.PREC", asked, device) == Precision(given, device.type)
    fell_back = asked != given
    assert (f"TRAINER.X.PREC is {asked}" in caplog.text) == fell_back
    assert ("running in fp32" in caplog.text) == fell_back


def test_a_device_is_named_with_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert str(find_runtime(True).device) == "cuda:2"
    assert str(find_runtime(False).device) == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(find_runtime(True).device) == "cuda:2"  # left over from elsewhere: this run is one process
    monkeypatch.setenv("WORLD_SIZE", "4")
    with monkeypatch.context() as connected:
        connected.setattr(dist, "is_initialized", lambda: True)
        assert str(find_runtime(True).device) == "cuda:3"
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_runtime(True) == Runtime(CPU, 0, 1)
    assert not dist.is_initialized()


PROCESS = """
import torch.distributed as dist
from dassl.engine.processes import disconnect
from dassl.engine.runtime import find_runtime

runtime = find_runtime(False)
assert find_runtime(False) == runtime  # connected once
print(runtime.rank, runtime.world_size, runtime.is_main, dist.get_backend())
disconnect()
assert not dist.is_initialized()
"""


def test_two_processes_find_each_other() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    common |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            cwd=ROOT,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        results = [process.communicate(timeout=90) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], results
    assert [out.strip() for out, _ in results] == ["0 2 True gloo", "1 2 False gloo"]


def test_several_processes_need_a_launcher_and_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT is not set"):
        find_runtime(False)
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        ValueError, match="LOCAL_RANK is 1, but GPUs here: 1; start torchrun --nproc-per-node 1"
    ):
        find_runtime(True)
    assert not dist.is_initialized()


def test_other_peoples_trainers_run_on_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"WORLD_SIZE is 2, but TinyCoOp computes .* without torchrun"):
        tiny_trainer(tmp_path / "run", tmp_path)
    assert not dist.is_initialized()
