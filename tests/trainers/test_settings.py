"""What each trainer says of the settings that it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from yacs.config import CfgNode as CN

import train
import trainers
from dassl.config import config_hash
from dassl.engine import TRAINER_REGISTRY, build_trainer
from trainers.core.clip_trainer import CLIPTrainer, options_of

Build = Callable[..., Any]
NAMES = [
    name
    for name in TRAINER_REGISTRY.registered_names()
    if issubclass(cls := TRAINER_REGISTRY.get(name), CLIPTrainer) and cls.__module__.startswith("trainers")
]
# what fits a method to a CLIP of two blocks
SMALL = {
    "TCP": ("TRAINER.TCP.BLOCK", "1"),
    "MMRL": ("TRAINER.TASK", "B2N", "TRAINER.MMRL.REP_LAYERS", "[1, 2]"),
    "MMRLpp": ("TRAINER.TASK", "B2N", "TRAINER.MMRLpp.REP_LAYERS", "[1, 2]"),
}
COOP = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TEST.NO_TEST", "True")


def test_options_have_their_defaults() -> None:
    cfg = train.default_cfg()
    for name in NAMES:
        for key, default in TRAINER_REGISTRY.get(name).own_options().items():
            node = cfg
            for part in key.split("."):
                node = node[part]
            assert node == default, key
    assert trainers.CoOp.own_options().keys() == {
        f"TRAINER.COOP.{key}"
        for key in ("N_CTX", "CSC", "CTX_INIT", "PREC", "CLASS_TOKEN_POSITION", "UPGRADED_FROM")
    }
    assert trainers.KgCoOp.own_options() == {**trainers.CoOp.own_options(), "TRAINER.COOP.W": 8.0}
    both = {*trainers.PromptKD.own_options(), *trainers.PromptKD_DPC.own_options()}
    assert {"TRAINER.MODAL", "TRAINER.PROMPTKD.TEACHER_DIR", "TRAINER.DPC.QUERY", "TRAINER.DPC.TOPK"} <= both
    assert "TRAINER.DPC.QUERY" not in trainers.CoOp_DPC.own_options()
    assert trainers.ZeroshotCLIP.own_options() == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_trainer_reads_no_option_but_its_own(
    build: Build, tiny_clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Others are not even there."""
    cls = TRAINER_REGISTRY.get(name)
    options = ["OPTIM.MAX_EPOCH", "1"]
    if "PromptKD" in name:
        prec = ("TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.PROMPTSRC.GPA_MEAN", "1")
        build("PromptSRC", *options, *prec, "TEST.NO_TEST", "True", output=tmp_path / "teacher").train()
        options += ["TRAINER.PROMPTKD.TEACHER_DIR", str(tmp_path / "teacher")]
        options += ["TRAINER.PROMPTKD.TEACHER_PATH", str(tiny_clip_file)]
    if name.startswith("PromptSRC"):
        options += ["TRAINER.PROMPTSRC.GPA_MEAN", "1"]
    options += SMALL.get(name.partition("_")[0], ())
    if hasattr(cls, "NODE"):
        options += [f"TRAINER.{cls.NODE}.PREC", "fp32"]
    if name.endswith("_DPC"):
        backbone = name.removesuffix("_DPC")
        build(backbone, *options, "TEST.NO_TEST", "True", output=tmp_path / "backbone").train()
        options += ["TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "backbone")]

    def of_its_own_options(cfg: CN) -> Any:
        cfg = cfg.clone()
        cfg.defrost()
        chosen = {node: cfg.TRAINER[node] for node in options_of(cls)}
        for node, options in chosen.items():
            if isinstance(options, CN):
                chosen[node] = CN({key: options[key] for key in options_of(cls)[node]})
        cfg.TRAINER = CN({"NAME": name, **chosen})
        cfg.freeze()
        return build_trainer(cfg)

    monkeypatch.setattr(train, "build_trainer", of_its_own_options)
    trainer = build(name, *options)
    assert set(trainer.cfg.TRAINER) == {"NAME", *options_of(cls)}
    trainer.test() if name.startswith("Zeroshot") else trainer.train()


def unfinished(build: Build, folder: Path, *options: str) -> None:
    trainer = build("CoOp", *COOP, *options, output=folder)
    trainer.before_train()
    trainer.epoch = 0
    trainer.save_resume_point()


def test_an_unfinished_run_goes_on_under_other_options_of_other_trainers(
    build: Build, tmp_path: Path
) -> None:
    unfinished(build, tmp_path / "run")
    with pytest.raises(ValueError, match=r"TRAINER\.COOP\.CLASS_TOKEN_POSITION was"):
        build("CoOp", *COOP, "TRAINER.COOP.CLASS_TOKEN_POSITION", "front", output=tmp_path / "run").train()
    other = ("TRAINER.PROMPTKD.KD_WEIGHT", "200", "TRAINER.MODAL", "cross", "TRAINER.DPC.TOPK", "4")
    trainer = build("CoOp", *COOP, *other, output=tmp_path / "run")
    trainer.train()
    assert trainer.start_epoch == 1

    checkpoint = torch.load(tmp_path / "run/prompt_learner/model.pth.tar-2", weights_only=True)
    assert not any("PROMPTKD" in key for key in checkpoint["settings"])
    assert "TRAINER.COOP.N_CTX" in checkpoint["changed_settings"]
    assert "TRAINER.COOP.CSC" not in checkpoint["changed_settings"]


def test_a_result_is_known_by_what_its_trainer_reads(build: Build, tmp_path: Path) -> None:
    def hash_of(*options: str) -> str:
        trainer = build("CoOp", *COOP, *options, output=tmp_path)
        return config_hash(trainer.cfg, trainer.known_options())

    assert hash_of("TRAINER.PROMPTKD.KD_WEIGHT", "200") == hash_of("DATASET.DIR", "") == hash_of()
    assert len({hash_of(), hash_of("TRAINER.COOP.CSC", "True"), hash_of("DATASET.DIR", "x")}) == 3
    build("ZeroshotCLIP", output=tmp_path).test()
    trainer = build("ZeroshotCLIP", "TRAINER.COOP.N_CTX", "4", output=tmp_path)
    assert config_hash(trainer.cfg, trainer.known_options()) in (tmp_path / "results.jsonl").read_text()
