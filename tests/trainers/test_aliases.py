"""Other repositories' names, translated where settings come in."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from yacs.config import CfgNode as CN

import train
from dassl.engine import TRAINER_REGISTRY
from tests.conftest import ROOT
from trainers.aliases import SETTINGS, TRAINERS

FILE = "configs/trainers/SPLE/CoOp/vit_b16_ep20.yaml"


def settings(*words: str, trainer: str = "StackSPLE_CoOp", file: str = FILE) -> CN:
    files = ["--config-file", str(ROOT / file)] if file else []
    return train.setup_cfg(train.parse_arguments(["--trainer", trainer, *files, *words]))


def test_the_table_leads_to_settings_and_trainers_that_there_are() -> None:
    cfg = train.default_cfg()
    for old, alias in SETTINGS.items():
        node: Any = cfg
        for name in alias.new.split(".") if alias.new else ():
            node = node[name]
        assert alias.new or alias.only or alias.reason, old
    for trainer in TRAINERS.values():
        assert trainer in TRAINER_REGISTRY.registered_names()


def test_every_file_of_the_authors_is_understood() -> None:
    files = sorted((ROOT / "configs/trainers/SPLE").rglob("*.yaml"))
    assert len(files) == 10
    for path in files:
        theirs = yaml.safe_load(path.read_text())["SPLE"]
        cfg = settings(trainer=f"StackSPLE_{path.parent.name}", file=str(path.relative_to(ROOT)))
        dpc = cfg.TRAINER.DPC
        assert f"{path.parent.name}_DPC" == cfg.TRAINER.NAME
        assert (theirs["INFER_TOPK"], theirs["BACK_CKPT_PATH"]) == (dpc.TOPK, dpc.BACKBONE_DIR)
        assert (theirs["STACK"]["WEIGHT"], theirs["PIC_LIB"]) == (dpc.WEIGHT_BASE, dpc.NEGATIVE_POOL)
        # the authors' own default where a file says nothing
        assert theirs["STACK"].get("WEIGHT_FOR_NEW", 0.2) == dpc.WEIGHT_NEW
        assert theirs.get("BACK_CKPT_EPOCH") == dpc.BACKBONE_EPOCH


def test_each_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings("SPLE.INFER_TOPK", "5", "SPLE.STACK.LOOP_DEPTH", "3", file="")
    assert "StackSPLE_CoOp is CoOp_DPC here" in caplog.text
    assert "SPLE.INFER_TOPK 5 -> TRAINER.DPC.TOPK" in caplog.text
    assert "SPLE.STACK.LOOP_DEPTH 3 is left out: the authors' code does not read it" in caplog.text


def test_the_last_word_counts_whoever_says_it() -> None:
    assert settings("TRAINER.DPC.TOPK", "3").TRAINER.DPC.TOPK == 3
    assert settings("TRAINER.DPC.TOPK", "3", "SPLE.INFER_TOPK", "4").TRAINER.DPC.TOPK == 4
    assert settings("SPLE.INFER_TOPK", "4", "TRAINER.DPC.TOPK", "3").TRAINER.DPC.TOPK == 3
    assert settings("SPLE.STACK.WEIGHT", "0.2").TRAINER.DPC.WEIGHT_BASE == 0.2


def test_kgcoops_switch_means_its_words() -> None:
    def words(*options: str) -> str:
        return settings(*options, trainer="KgCoOp", file="").TRAINER.COOP.CTX_INIT

    assert words("TRAINER.COOP.CTX_INIT", "True") == "a photo of a"
    assert words("TRAINER.COOP.CTX_INIT", "a sketch of a", "TRAINER.COOP.CTX_INIT", "False") == ""
    assert words("TRAINER.COOP.CTX_INIT", "a sketch of a") == "a sketch of a"


def test_dept_s_names_and_defaults(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = "configs/trainers/ExtrasLinearProbeKgCoOp/vit_b16_ep10_ctxv1_bs4_lr35.yaml"
    words = (
        "TRAINER.LINEAR_PROBE.WEIGHT",
        "0.5",
        "OPTIM.LR_EXP",
        "3.0",
        "TRAINER.FILM.LINEAR_PROBE",
        "False",
    )
    cfg = settings(
        *words, "TRAINER.LINEAR_PROBE.TYPE", "linear", trainer="ExtrasLinearProbeKgCoOp", file=file
    )
    assert (cfg.TRAINER.NAME, cfg.TRAINER.COOP.W, cfg.OPTIM.LR) == ("KgCoOp_DePT", 2.0, 0.0035)
    dept = cfg.TRAINER.DEPT
    assert (dept.WEIGHT, dept.LR_FACTOR, dept.FILM, dept.FUSION) == (0.5, 3.0, False, True)
    assert "configs/trainers/KgCoOp_DePT/vit_b16_ep10_ctxv1_bs4_lr35.yaml" in caplog.text
    cfg = settings(trainer="ExtrasLinearProbeKgCoOp", file="")
    assert (cfg.TRAINER.COOP.W, cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH) == (2.0, 0.0035, 10)
    assert settings(trainer="KgCoOp_DePT", file="").TRAINER.COOP.W == 8.0
    with pytest.raises(FileNotFoundError, match="ExtrasLinearProbeCoOp/none"):
        settings(trainer="CoOp_DePT", file="configs/trainers/ExtrasLinearProbeCoOp/none.yaml")


def test_our_own_names_keep_our_own_defaults() -> None:
    dpc = settings(trainer="CoOp_DPC", file="").TRAINER.DPC
    assert (dpc.WEIGHT_BASE, dpc.WEIGHT_NEW) == (None, 1e-6)
    dpc = settings(file="").TRAINER.DPC
    assert (dpc.WEIGHT_BASE, dpc.WEIGHT_NEW) == (0.5, 0.2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "SPLE.STACK.MODE",
            "simple",
            r"MODE is 'simple', but only 'converse' or 'loop\+converse'",
        ),
        ("SPLE.SPLE_TRAINER.SPLE_INIT", "False", "SPLE_INIT is False, but only True is known here"),
        ("TRAINER.LINEAR_PROBE.TYPE", "similarity", "TYPE is 'similarity', but only 'linear' is known"),
        (
            "TRAINER.NAMES_TO_UPDATE",
            "['film']",
            r"NAMES_TO_UPDATE is \['film'\], but only \['prompt_learner'",
        ),
        ("SPLE.STACK.WIEGHT", "0.2", "Unknown setting 'SPLE'"),
        ("SPLE.INFER_TOPK", "many", "many"),
    ],
)
def test_what_has_no_counterpart_is_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(key, value)


def test_the_epoch_gives_way_to_the_best_student_alone(tmp_path: Path) -> None:
    words = ("SPLE.BACK_CKPT_PATH", str(tmp_path), "SPLE.BACK_CKPT_EPOCH", "7")
    assert settings(*words, trainer="StackSPLE_PromptKD", file="").TRAINER.DPC.BACKBONE_EPOCH == 7
    (tmp_path / "VLPromptLearner").mkdir()
    (tmp_path / "VLPromptLearner/model-best.pth.tar").touch()
    assert settings(*words, trainer="StackSPLE_PromptKD", file="").TRAINER.DPC.BACKBONE_EPOCH is None
    assert settings(*words, file="").TRAINER.DPC.BACKBONE_EPOCH == 7
    assert settings(*words, trainer="PromptKD_DPC", file="").TRAINER.DPC.BACKBONE_EPOCH == 7


def test_every_key_of_the_originals_files_is_known() -> None:
    """Of the methods that are here; whatever is unknown would stop a run."""
    originals = json.loads((ROOT / "tests/configs/originals.json").read_text())
    cfg = train.default_cfg()
    known = {"CoOp", "CoCoOp", "KgCoOp", "MaPLe", "IVLP", "VPT", "PromptSRC", "PromptKD", "SPLE", *TRAINERS}
    keys = {
        key
        for file, copies in originals["files"].items()
        if file.split("/")[0] in known
        for copy in copies
        for key in {**originals["common"], **copy["settings"]}
    }
    for key in keys - SETTINGS.keys():
        node: Any = cfg
        for name in key.split("."):
            node = node[name]
