"""Logits of the original repositories' checkpoints, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import train
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
    "tcp": ("base", "new", "all"),
    "mmrl": ("base", "new", "all"),
    "mmrlpp": ("base", "new", "all"),
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


@pytest.mark.parametrize("name", ["mmrl", "mmrlpp"])
@pytest.mark.parametrize("classes", ["base", "new", "all"])
def test_logits_of_either_feature_of_mmrl(
    golden: Path, translated: Callable[[str], list[str]], name: str, classes: str
) -> None:
    entry, record = load(golden, f"eval/{name}_parts")
    args = train.parse_arguments(translated(entry["command"][classes]))
    trainer = train.build_trainer(train.setup_cfg(args))
    trainer.load_model(args.model_dir, args.load_epoch)
    trainer.start_test("test")
    with torch.no_grad():
        batches = [trainer.parse_batch_test(batch)[0] for batch in trainer.test_loader]
        features = torch.cat([trainer.model.image_features(images) for images in batches])
        text = trainer.model.text_features()
        of_class, of_rep = (trainer.model.logits(part, text) for part in features.chunk(2, dim=1))
        parts = {"class": of_class, "rep": of_rep, "fusion": trainer.model.class_logits(features, text, None)}
    for part, logits in parts.items():
        np.testing.assert_allclose(logits, record[f"{classes}_{part}_logits"], rtol=0, atol=2e-4)


def test_what_tcp_makes_of_new_names(golden: Path, translated: Callable[[str], list[str]]) -> None:
    entry, record = load(golden, "eval/tcp_parts")
    args = train.parse_arguments(translated(entry["command"]["new"]))
    trainer = train.build_trainer(train.setup_cfg(args))
    trainer.load_model(args.model_dir, args.load_epoch)
    learner = trainer.model.prompt_learner
    fixed, prompts = record["new_fixed_text_features"], record["new_class_prompts"]
    np.testing.assert_allclose(learner.fixed, fixed, rtol=1e-4, atol=2e-5)
    with torch.no_grad():
        np.testing.assert_allclose(learner.class_prompts(), prompts, rtol=1e-4, atol=2e-5)


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
