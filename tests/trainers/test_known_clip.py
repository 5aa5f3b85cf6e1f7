"""Checkpoints say which CLIP their prompts were tuned on; another one is said, and no run goes on on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from clip import CLIP, openai_state_dict, weights_hash

Build = Callable[..., Any]
FP32 = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", "TEST.NO_TEST", "True")
WARNED = "was tuned on the CLIP"


@pytest.fixture(scope="session")
def sibling(tiny_clip: CLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny CLIP after a step of somebody's fine-tuning."""
    state = {key: value.clone() for key, value in openai_state_dict(tiny_clip).items()}
    state["visual.proj"][0, 0] += 1e-3
    path = tmp_path_factory.mktemp("sibling") / "sibling.pt"
    torch.save(state, path)
    return path


def on(path: Path) -> tuple[str, ...]:
    return (*FP32, "MODEL.BACKBONE.PATH", str(path))


@pytest.fixture
def coop(build: Build, tmp_path: Path) -> Path:
    build("CoOp", *FP32, output=tmp_path / "coop").train()
    return tmp_path / "coop"


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    [path] = folder.glob("prompt_learner/model.pth.tar-*")
    checkpoint = torch.load(path)
    edit(checkpoint)
    torch.save(checkpoint, path)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_names_the_clip_before_it_is_cast(
    build: Build, tiny_clip: CLIP, tiny_clip_file: Path, tmp_path: Path, precision: str
) -> None:
    build("CoOp", *FP32, "TRAINER.COOP.PREC", precision, output=tmp_path / "run").train()
    checkpoint = torch.load(tmp_path / "run/prompt_learner/model.pth.tar-2", weights_only=True)
    assert checkpoint["clip"] == {"name": str(tiny_clip_file), "hash": weights_hash(tiny_clip)}


def test_an_evaluation_on_another_clip_names_both(
    build: Build, coop: Path, sibling: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = build("CoOp", *on(sibling))
    trainer.load_model(str(coop), epoch=-1)
    ours, theirs = trainer.known_clip, torch.load(coop / "prompt_learner/model.pth.tar-2")["clip"]
    [message] = [text for text in caplog.messages if WARNED in text]
    assert f"{theirs['name']} ({theirs['hash'][:12]})" in message.split("now meets")[0]
    assert f"{sibling} ({ours.hash[:12]})" in message.split("now meets")[1]
    caplog.clear()
    build("CoOp", *on(sibling), "MODEL.INIT_WEIGHTS", str(coop / "prompt_learner/model.pth.tar-2"))
    assert WARNED in caplog.text


def test_the_same_weights_in_another_file_are_the_same_clip(
    build: Build, coop: Path, tiny_clip: CLIP, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: value.contiguous() for key, value in openai_state_dict(tiny_clip).items()}, path)
    build("CoOp", *on(path)).load_model(str(coop), epoch=-1)
    assert WARNED not in caplog.text


@pytest.mark.parametrize("entry", [None, "ViT-B/16", {"name": "ViT-B/16"}])
def test_a_checkpoint_that_does_not_say_is_silent(
    build: Build, coop: Path, sibling: Path, caplog: pytest.LogCaptureFixture, entry: Any
) -> None:
    change(
        coop, lambda checkpoint: checkpoint.pop("clip") if entry is None else checkpoint.update(clip=entry)
    )
    build("CoOp", *on(sibling)).load_model(str(coop), epoch=-1)
    assert WARNED not in caplog.text


@pytest.mark.parametrize("left", ["checkpoint", "resume file"])
def test_no_run_goes_on_on_another_clip(
    build: Build, tiny_clip_file: Path, sibling: Path, tmp_path: Path, left: str
) -> None:
    weights, run = tmp_path / "clip.pt", tmp_path / "run"
    weights.write_bytes(tiny_clip_file.read_bytes())
    options = (*on(weights), "TRAIN.CHECKPOINT_FREQ", "1")
    trainer = build("CoOp", *options, output=run)
    trainer.before_train()
    trainer.epoch = 0
    if left == "checkpoint":
        trainer.save_model(0, str(run))
    else:
        trainer.save_resume_point()
    weights.write_bytes(sibling.read_bytes())
    with pytest.raises(
        ValueError, match=r"belongs to a run on the CLIP .*clip\.pt \(.*but MODEL\.BACKBONE leads"
    ):
        build("CoOp", *options, output=run).train()
    weights.write_bytes(tiny_clip_file.read_bytes())
    again = build("CoOp", *options, output=run)
    again.train()
    assert again.start_epoch == 1


def test_prompts_that_a_run_builds_on(
    build: Build, coop: Path, tiny_clip_file: Path, sibling: Path, tmp_path: Path, caplog: Any
) -> None:
    backbone = ("TRAINER.DPC.BACKBONE_DIR", str(coop))
    build("CoOp_DPC", *FP32, *backbone)
    assert WARNED not in caplog.text
    build("CoOp_DPC", *on(sibling), *backbone)
    assert f"TRAINER.DPC.BACKBONE_DIR: {coop}" in caplog.text and WARNED in caplog.text

    teacher = tmp_path / "teacher"
    build("PromptSRC", "TRAINER.PROMPTSRC.PREC", "fp32", "TEST.NO_TEST", "True", output=teacher).train()
    caplog.clear()
    student = ("TRAINER.PROMPTKD.PREC", "fp32", "TRAINER.PROMPTKD.TEACHER_DIR", str(teacher))
    student += ("MODEL.BACKBONE.PATH", str(sibling), "TRAINER.PROMPTKD.TEACHER_PATH")
    build("PromptKD", *student, str(tiny_clip_file))
    assert WARNED not in caplog.text  # the student's own CLIP is another one, the teacher's is not
    build("PromptKD", *student, str(sibling))
    assert f"TRAINER.PROMPTKD.TEACHER_DIR: {teacher}" in caplog.text and WARNED in caplog.text
