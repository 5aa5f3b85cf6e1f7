"""Logits of the original repositories' checkpoints, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.golden.commands import assert_logits, load, run

RECORDS = {
    "zeroshotclip": ("base", "new", "all"),
    "zeroshotclip2": ("base", "new", "all"),
    "coop_ctx4": ("base", "new", "all"),
    "coop_ctx4_middle": ("base", "new"),
    "coop_ctx16_end": ("base", "new"),
    "coop_ctx16_middle": ("base", "new"),
    "coop_ctx16_front": ("base", "new"),
    "coop_csc16_base": ("base",),
    "coop_csc4_all_middle": ("all",),
    "kgcoop": ("base", "new"),
    "cocoop": ("base", "new"),
    "vpt": ("base", "new"),
    "ivlp": ("base", "new"),
    "maple": ("base", "new"),
    "promptsrc": ("base", "new"),
    "teacher_promptsrc_l14": ("base", "new"),
    "promptkd_base2novel": ("base", "new"),
    "promptkd_cross": ("all",),
    "dept_coop": ("base", "new"),
    "dept_kgcoop": ("base", "new", "all"),
    "dept_maple": ("base", "new", "all"),
}


@pytest.mark.parametrize(("name", "classes"), [(n, c) for n, subsets in RECORDS.items() for c in subsets])
def test_logits(
    golden: Path,
    translated: Callable[[str], list[str]],
    tmp_path: Path,
    name: str,
    classes: str,
) -> None:
    entry, record = load(golden, f"eval/{name}")
    run(translated(entry["command"][classes]))
    assert_logits(tmp_path, record, classes)


DPC_RECORDS = {
    "dpc/eval_coop": (
        "base/w0.2/wnew0.0", "base/w0.5/wnew0.0", "new/w0.2/wnew0.0", "new/w0.2/wnew1e-06",
        "new/w0.2/wnew0.2", "new/w0.5/wnew0.2", "all/w0.2/wnew0.0", "all/w0.2/wnew0.2",
    ),
    "dpc/eval_kd": (
        "base/w0.2/wnew0.0", "base/w0.5/wnew0.0", "new/w0.2/wnew0.0", "new/w0.2/wnew1e-06",
        "new/w0.2/wnew0.2", "new/w0.5/wnew0.2",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [(n, k) for n, keys in DPC_RECORDS.items() for k in keys])
def test_dpc_logits(
    golden: Path,
    translated: Callable[[str], list[str]],
    tmp_path: Path,
    name: str,
    key: str,
) -> None:
    entry, record = load(golden, name)
    run(translated(entry["command"][key]))
    classes = key.split("/")[0]
    record[f"{classes}_logits"] = record[f"{key}/logits"]
    assert_logits(tmp_path, record, classes, atol=5e-4)


@pytest.mark.parametrize(
    ("part", "option"),
    [
        ("similarity", "TRAINER.LINEAR_PROBE.WEIGHT 0.0"),
        ("linear", "TRAINER.LINEAR_PROBE.TEST_TIME_FUSION False"),
    ],
)
@pytest.mark.parametrize("learner", ["coop", "kgcoop", "maple"])
def test_dept_logits_before_they_are_mixed(
    golden: Path, translated: Callable[[str], list[str]], tmp_path: Path, learner: str, part: str, option: str
) -> None:
    entry, record = load(golden, f"eval/dept_{learner}_parts")
    run([*translated(entry["command"]), *option.split()])
    ours = np.load(tmp_path / "logits.npz")["logits"]
    np.testing.assert_allclose(ours, record[f"{part}_logits"], rtol=0, atol=2e-4)
