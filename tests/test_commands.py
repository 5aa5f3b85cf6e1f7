"""Command lines of the original repositories, word by word, on a tiny tree laid out as theirs."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import train
from clip import CLIP, openai_state_dict
from tests.conftest import ROOT, TINY

NAMES = [f"20{i:02} Maker Model{i}" for i in range(6)]
STUDENT, DPC = "output/1_PromptKD_baseline/seed1", "output/3_SPLE_converse/seed1"
COMMON = "--root DATA/stanford_cars --seed 1 --dataset-config-file configs/datasets/stanford_cars.yaml"
KD = "TRAINER.MODAL base2novel TRAINER.PROMPTKD.TEMPERATURE 1.0 TRAINER.PROMPTKD.KD_WEIGHT 1000.0"
# the DPC repository's README: PromptKD, DPC on it, the new classes
FIRST = (
    f"train.py {COMMON} --trainer PromptKD "
    f"--config-file configs/trainers/PromptKD/vit_b16_c2_ep20_batch32_4+4ctx.yaml --output-dir {STUDENT} "
    f"DATASET.NUM_SHOTS 0 {KD}"
)
SECOND = (
    f"train.py {COMMON} --trainer StackSPLE_PromptKD "
    f"--config-file configs/trainers/SPLE/PromptKD/vit_b16_c2_ep20_batch4_4+4ctx.yaml --output-dir {DPC} "
    f"DATASET.NUM_SHOTS 16 SPLE.BACK_CKPT_PATH {STUDENT} SPLE.BACK_CKPT_EPOCH 20 "
    "SPLE.PIC_LIB DATA/SPLE_database/SPLE_StanfordCars.json SPLE.STACK.MODE converse SPLE.STACK.WEIGHT 0.2 "
    f"DATASET.SUBSAMPLE_CLASSES %s SPLE.STACK.WEIGHT_FOR_NEW 0.0 {KD} TEST.SPLIT %s"
)


def save_weights(folder: Path) -> None:
    """ViT-B-16.pt and ViT-L-14.pt: random, and as small as images of 224 pixels allow."""
    folder.mkdir()
    for name, width in (("ViT-B-16.pt", 32), ("ViT-L-14.pt", 48)):
        torch.manual_seed(width)
        arch = replace(TINY, image_resolution=224, vision_patch_size=112, embed_dim=width)
        torch.save(openai_state_dict(CLIP.create(arch)), folder / name)


def save_teacher(folder: Path) -> None:
    """What PromptSRC tuned on the larger CLIP, random here."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(3)
    keys = ("prompt_learner.ctx", "image_encoder.VPT", "text_encoder.transformer.resblocks.1.VPT_shallow")
    keys = (*keys, "image_encoder.transformer.resblocks.1.VPT_shallow")
    state = {key: 0.02 * torch.randn(4, 64, generator=generator) for key in keys}
    torch.save({"state_dict": state, "epoch": 20}, folder / "model-best.pth.tar")


def save_cars(folder: Path) -> None:
    """Six models with four training, one validation and three test images, and the picture library."""
    rng = np.random.default_rng(0)
    split: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
    library: dict[str, Any] = {}
    for label, name in enumerate(NAMES):
        for part, count in (("train", 4), ("val", 1), ("test", 3)):
            for i in range(count):
                path = f"cars_{'test' if part == 'test' else 'train'}/{label}_{part}_{i}.png"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(rng.normal(30 * label + 40, 25, (30, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / path)
                split[part].append([path, label, name])
        # all labels there count the whole set; one image tells apart who drew from here
        library[name] = [label, [f"cars_train/{label}_train_0.png"]]
    (folder / "split_zhou_StanfordCars.json").write_text(json.dumps(split))
    database = folder.parent / "SPLE_database"
    database.mkdir()
    (database / "SPLE_StanfordCars.json").write_text(json.dumps({"train": [library], "val": [{}]}))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the originals' users have it, where PromptKD and DPC on it are trained."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "configs").symlink_to(ROOT / "configs")
    save_weights(folder / "clip")
    save_teacher(folder / "teacher_model/StanfordCars/VLPromptLearner")
    save_cars(folder / "DATA/stanford_cars")
    for command in (f"{FIRST} TEST.SPLIT val", SECOND % ("base", "val")):
        run(folder, command)
    return folder


def run(folder: Path, command: str, code: int = 0) -> str:
    """What the command says, run in ``folder``."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)  # as train.main does
    try:
        with contextlib.chdir(folder), contextlib.redirect_stderr(said):
            arguments = train.parse_arguments(shlex.split(command)[1:])
            assert train.report_errors(lambda: train.run(arguments)) == code, said.getvalue()
    finally:
        root.setLevel(level)
        for added in set(root.handlers) - set(before):
            root.removeHandler(added)
            added.close()
    return said.getvalue()


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "VLPromptLearner/model-best.pth.tar", weights_only=False)


def test_the_student_is_selected_and_ends_on_base_test_images(checkout: Path) -> None:
    lines = results(checkout / STUDENT)
    assert [line["split"] for line in lines] == ["val"] * 21
    assert lines[-1]["metrics"]["total"] == 9 and lines[-1]["selected_on"] == "test"
    assert not any("selected_on" in line for line in lines[:-1])
    best = max(line["metrics"]["accuracy"] for line in lines[:-1])
    assert lines[-1]["metrics"]["accuracy"] == best == checkpoint(checkout / STUDENT)["val_result"]
    log = (checkout / STUDENT / "log.txt").read_text()
    assert "selected on test images" in log and f"clip{os.sep}ViT-B-16.pt" in log
    for name in ("PROJECT_LAYER 2", "CE_WEIGHT 0.0"):
        assert f"TRAINER.PROMPTKD.{name} is left out" in log


def test_dpc_starts_from_the_best_student(checkout: Path) -> None:
    log = (checkout / DPC / "log.txt").read_text()
    assert "SPLE.BACK_CKPT_EPOCH 20 gives way to" in log
    assert "SPLE.STACK.WEIGHT 0.2 -> TRAINER.DPC.WEIGHT_BASE" in log
    settings = {key: json.loads(text) for key, text in checkpoint(checkout / DPC)["settings"].items()}
    assert settings["TRAINER.NAME"] == "PromptKD_DPC" and settings["TRAINER.DPC.VARIANT"] == "released"
    assert settings["TRAINER.DPC.BACKBONE_EPOCH"] is None and settings["TRAINER.DPC.TOPK"] == 8
    assert settings["TRAINER.DPC.WEIGHT_NEW"] == 0.0 and settings["DATASET.SUBSAMPLE_CLASSES"] == "base"
    assert settings["TRAINER.DPC.NEGATIVE_POOL"] == "DATA/SPLE_database/SPLE_StanfordCars.json"
    last = results(checkout / DPC)[-1]
    assert (last["split"], last["subsample_classes"], last["metrics"]["total"]) == ("val", "base", 9)


def test_new_classes_have_the_students_accuracy_and_nothing_is_trained(checkout: Path) -> None:
    before = {path: path.read_bytes() for path in (checkout / DPC / "VLPromptLearner").iterdir()}
    count = len(results(checkout / DPC))
    output = run(checkout, SECOND % ("new", "test"))
    assert "nothing is trained, it is tested on the new classes" in output
    assert before == {path: path.read_bytes() for path in (checkout / DPC / "VLPromptLearner").iterdir()}
    (ours,) = results(checkout / DPC)[count:]
    assert (ours["split"], ours["subsample_classes"], ours["metrics"]["total"]) == ("test", "new", 9)
    assert ours["selected_on"] == "test"

    # the student's own command, without a word on classes: theirs ends with the new ones
    words = f"--eval-only --model-dir {STUDENT} --output-dir bare"
    run(checkout, re.sub(r"--output-dir \S+", words, FIRST))
    (student,) = results(checkout / "bare")
    assert (student["split"], student["subsample_classes"], student["metrics"]["total"]) == ("test", "new", 9)
    near = pytest.approx(ours["metrics"]["ece"], abs=1e-3)  # the others are of counts, not of sums
    assert student["metrics"] == {**ours["metrics"], "ece": near}


def test_a_finished_run_of_other_settings_is_left_alone(checkout: Path) -> None:
    output = run(checkout, f"{SECOND % ('new', 'test')} OPTIM.LR 0.1", code=1)
    assert "belongs to a run with other settings" in output and "OPTIM.LR" in output


def test_what_is_missing_is_said(checkout: Path) -> None:
    words = SECOND % ("base", "val") + " SPLE.PIC_LIB DATA/nowhere.json"
    output = run(checkout, words.replace(DPC, "other"), code=1)
    assert "TRAINER.DPC.NEGATIVE_POOL is 'DATA/nowhere.json', but there is no such file" in output
    output = run(checkout, f"{FIRST} TRAINER.MODAL cross", code=1)
    assert "TRAINER.PROMPTKD.TEACHER_DIR is empty, and there is no teacher_model" in output


def test_the_cross_data_set_teacher(checkout: Path) -> None:
    large = checkout / "teacher_model/ImageNet-xd/VLPromptLearner_large"
    save_teacher(large)
    (large / "model-best.pth.tar").rename(large / "model.pth.tar-20")
    run(
        checkout,
        FIRST.replace("MODAL base2novel", "MODAL cross").replace(STUDENT, "xd") + " OPTIM.MAX_EPOCH 2",
    )
    last = results(checkout / "xd")[-1]
    assert last["split"] == "test" and last["metrics"]["total"] == 18 and last["selected_on"] == "test"


def test_coops_commands(checkout: Path) -> None:
    coop = (
        f"train.py {COMMON} --trainer CoOp --config-file configs/trainers/CoOp/vit_b16_ep20_lr35.yaml "
        "--output-dir output/coop DATASET.NUM_SHOTS 16 TRAINER.COOP.N_CTX 4 DATASET.SUBSAMPLE_CLASSES base "
        "OPTIM.MAX_EPOCH 2"
    )
    run(checkout, coop)
    dpc = (
        f"train.py {COMMON} --trainer StackSPLE_CoOp "
        "--config-file configs/trainers/SPLE/CoOp/vit_b16_ep20.yaml %s "
        "DATASET.NUM_SHOTS 16 TRAINER.COOP.N_CTX 4 SPLE.BACK_CKPT_PATH output/coop SPLE.BACK_CKPT_EPOCH 2 "
        "SPLE.PIC_LIB DATA/SPLE_database/SPLE_StanfordCars.json "
        "DATASET.SUBSAMPLE_CLASSES %s OPTIM.MAX_EPOCH 2"
    )
    output = run(checkout, dpc % ("--output-dir output/coop_dpc", "base"))
    assert "SPLE.STACK.WEIGHT 0.5 -> TRAINER.DPC.WEIGHT_BASE" in output
    test = "--output-dir output/coop_new --eval-only --model-dir output/coop_dpc --load-epoch 2"
    run(checkout, dpc % (test, "new"))
    (result,) = results(checkout / "output/coop_new")
    assert result["method"] == "CoOp_DPC" and result["metrics"]["total"] == 9
