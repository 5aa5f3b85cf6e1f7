"""Checkpoints go both ways between each method and its original repository.

The names and shapes of the originals' tensors are those of tests/golden/public/checkpoints.json, on narrower
CLIPs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clip import CLIP, Architecture, openai_state_dict
from dassl.engine import TRAINER_REGISTRY
from tests.golden import recipe
from tests.golden.commands import PUBLIC

Build = Callable[..., Any]
RECORDED: dict[str, Any] = json.loads((PUBLIC / "checkpoints.json").read_text())
TAGS = [tag for tag in RECORDED if tag != "ids"]
# Widths in the records -> here, with the inner ones of CoCoOp's and TCP's networks; base classes, all.
SMALLER = {512: 64, 768: 128, 1024: 192, 32: 4, 128: 16, 2048: 256, 5: 3, 10: 6}


def smaller(tag: str) -> dict[str, Any]:
    """What an original's checkpoint holds on the CLIPs here."""
    spec = copy.deepcopy(RECORDED[tag])
    for name, (drawn_for, drawn_as, *shape) in spec["drawn"].items():
        spec["drawn"][name] = [drawn_for, drawn_as, *(SMALLER.get(size, size) for size in shape)]
    return spec


SPECS = {**{tag: smaller(tag) for tag in TAGS}, "ids": RECORDED["ids"]}


@dataclass(frozen=True)
class Case:
    """An original's method here.

    Attributes:
        builds_on: tags of the originals' runs that it needs, by the setting that leads to them.
        leftovers: what the original stores and neither trains nor uses, or twice.
    """

    trainer: str
    options: str = ""
    classes: str = "base"
    clip: str = "b16"
    builds_on: tuple[tuple[str, str], ...] = ()
    leftovers: tuple[str, ...] = ()


COOP4, COOP16 = "TRAINER.COOP.N_CTX 4", "TRAINER.COOP.N_CTX 16"
DEPTHS = "TRAINER.{0}.PROMPT_DEPTH_VISION 3 TRAINER.{0}.PROMPT_DEPTH_TEXT 3"
MMRL = "TASK B2N TRAINER.MMRL.REP_LAYERS [2,3] TRAINER.MMRL.REP_DIM 64 TRAINER.MMRL.N_REP_TOKENS 3"
TEACHER = ("TRAINER.PROMPTKD.TEACHER_DIR", "teacher")
BACKBONE = "TRAINER.DPC.BACKBONE_DIR"
TWICE = ("prompt_learner.text_encoder.", "clip_model.")
DEPT_KG = ("prompt_learner.bias_vectors", "prompt_learner.meta_net.", "meta_net.", "adapter.")
CASES = {
    "coop_ctx4": Case("CoOp", COOP4),
    "coop_ctx16": Case("CoOp", COOP16),
    "coop_csc16_base": Case("CoOp", f"{COOP16} TRAINER.COOP.CSC True"),
    "coop_csc4_all": Case("CoOp", f"{COOP4} TRAINER.COOP.CSC True", classes="all"),
    "cocoop": Case("CoCoOp", "TRAINER.COCOOP.N_CTX 4"),
    "vpt": Case("VPT", "TRAINER.VPT.N_CTX_VISION 8 TRAINER.VPT.PROMPT_DEPTH_VISION 3"),
    "ivlp": Case("IVLP", DEPTHS.format("IVLP")),
    "maple": Case("MaPLe", "TRAINER.MAPLE.PROMPT_DEPTH 3"),
    "promptsrc": Case("PromptSRC", DEPTHS.format("PROMPTSRC") + " TRAINER.PROMPTSRC.GPA_MEAN 1"),
    "teacher": Case("PromptSRC", DEPTHS.format("PROMPTSRC") + " TRAINER.PROMPTSRC.GPA_MEAN 1", clip="l14"),
    "kgcoop": Case("KgCoOp", COOP4, leftovers=("bias_vectors", "meta_net.")),
    "tcp": Case("TCP", COOP4, clip="b16t12"),
    "mmrl": Case("MMRL", MMRL, leftovers=("prompt_embeddings",)),
    "mmrlpp": Case("MMRLpp", MMRL.replace("MMRL.", "MMRLpp."), leftovers=("prompt_embeddings",)),
    "promptkd": Case("PromptKD", "TRAINER.PROMPTKD.PROMPT_DEPTH_VISION 3", builds_on=(TEACHER,)),
    "dpc_coop": Case("CoOp_DPC", COOP4, builds_on=((BACKBONE, "coop_ctx4"),)),
    "dpc_promptkd": Case(
        "PromptKD_DPC",
        DEPTHS.format("PROMPTKD"),
        builds_on=(TEACHER, (BACKBONE, "promptkd")),
        leftovers=TWICE,
    ),
    "dpc_promptkd_init": Case(
        "PromptKD_DPC",
        DEPTHS.format("PROMPTKD"),
        builds_on=(TEACHER, (BACKBONE, "promptkd")),
        leftovers=TWICE,
    ),
    "dept_coop": Case("CoOp_DePT", COOP4),
    "dept_kgcoop": Case("KgCoOp_DePT", COOP4, leftovers=DEPT_KG),
    "dept_maple": Case("MaPLe_DePT", "TRAINER.MAPLE.PROMPT_DEPTH 3"),
}
every_tag = pytest.mark.parametrize("tag", TAGS)


def small_clip(name: str) -> dict[str, Tensor]:
    """The recorded CLIP of this name, narrower, in OpenAI's format."""
    size = recipe.SIZES[name]
    vision, text = SMALLER[size.vision], SMALLER[size.text]
    arch = Architecture(
        embed_dim=SMALLER[size.joint],
        image_resolution=recipe.PIXELS,
        vision_layers=recipe.BLOCKS,
        vision_width=vision,
        vision_patch_size=recipe.PATCH,
        context_length=recipe.TOKENS,
        vocab_size=recipe.VOCABULARY,
        transformer_width=text,
        transformer_layers=size.text_blocks,
    )
    torch.manual_seed(size.number)
    return openai_state_dict(CLIP.create(arch))


@pytest.fixture(scope="module")
def clips() -> dict[str, dict[str, Tensor]]:
    return {name: small_clip(name) for name in recipe.SIZES}


@pytest.fixture(scope="module")
def clip_files(
    clips: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    for name, state in clips.items():
        torch.save(state, folder / f"{name}.pt")
    return {name: folder / f"{name}.pt" for name in clips}


def as_the_original_saves(tag: str, state: dict[str, Tensor]) -> dict[str, Any]:
    """A checkpoint after a training step: the optimiser has all tensors, and is part of the scheduler too."""
    parameters = {k: nn.Parameter(v.clone()) for k, v in state.items() if v.is_floating_point()}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.0035, momentum=0.9, weight_decay=5e-4)
    successor = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for key in SPECS[tag]["drawn"]:
        parameters[key].grad = torch.zeros_like(parameters[key])
    optimizer.step()
    assert optimizer.state
    warmup = {"cons_lr": 1e-5, "successor": successor, "warmup_epoch": 1, "base_lrs": [0.0035]}
    warmup |= {"last_epoch": 1, "_step_count": 2, "_get_lr_called_within_step": False, "_last_lr": [0.0035]}
    return {
        "state_dict": state,
        "epoch": SPECS[tag]["epoch"],
        "optimizer": optimizer.state_dict(),
        "scheduler": warmup,
        "val_result": None,
    }


@pytest.fixture(scope="module")
def original(
    clips: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """original(tag, half) -> output folder of the original's run; ``half`` as files are published."""
    folder = tmp_path_factory.mktemp("originals")

    def run_folder(tag: str, half: bool = False) -> Path:
        path = folder / str(half) / SPECS[tag]["path"]
        if not path.exists():
            state = {k: v.clone() for k, v in recipe.checkpoint(SPECS, tag, clips).items()}
            if half:
                state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
            path.parent.mkdir(parents=True)
            torch.save(as_the_original_saves(tag, state), path)
            (path.parent / "checkpoint").write_text(f"{path.name}\n")
        return folder / str(half) / tag

    return run_folder


@pytest.fixture
def make(build: Build, clip_files: dict[str, Path], original: Callable[..., Path]) -> Build:
    """make(tag, *options) -> our trainer for the original's run ``tag``, on what originals have tuned."""

    def make_trainer(tag: str, *options: str, half: bool = False, **settings: Any) -> Any:
        case = CASES[tag]
        method = next(c for c in TRAINER_REGISTRY.get(case.trainer).__mro__ if "NODE" in vars(c))
        words = [f"TRAINER.{method.NODE}.PREC", "fp32", "MODEL.BACKBONE.PATH", str(clip_files[case.clip])]
        words += [*case.options.split(), "DATASET.SUBSAMPLE_CLASSES", case.classes, "TEST.NO_TEST", "True"]
        if TEACHER in case.builds_on:
            words += ["TRAINER.PROMPTKD.TEACHER_PATH", str(clip_files["l14"])]
        for setting, run in case.builds_on:
            words += [setting, str(original(run, half))]
        return build(case.trainer, *words, *options, **settings)

    return make_trainer


def needed(tag: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what the original's run has tuned; its frozen and unused tensors are left out."""
    drawn = {key: tuple(shape) for key, (_, _, *shape) in SPECS[tag]["drawn"].items()}
    everything = drawn | dict.fromkeys(SPECS[tag].get("numbers", {}), ())
    return {key: shape for key, shape in everything.items() if not key.startswith(CASES[tag].leftovers)}


def test_the_table_holds_every_recorded_checkpoint() -> None:
    assert set(CASES) == set(TAGS)


@every_tag
@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_theirs_load_into_ours(make: Build, original: Callable[..., Path], tag: str, half: bool) -> None:
    trainer = make(tag, half=half)
    learner = trainer.model.prompt_learner
    for tensor in learner.stored_tensors().values():
        tensor.data.fill_(7)
    folder = original(tag, half)
    [path] = folder.glob("*/model*")
    trainer.load_model(str(folder), epoch=None if "best" in path.name else SPECS[tag]["epoch"])

    theirs = torch.load(path, weights_only=False)["state_dict"]
    ours = learner.stored_tensors()
    assert {key: tuple(tensor.shape) for key, tensor in ours.items()} == needed(tag)
    for key, tensor in ours.items():
        assert tensor.dtype == (torch.float32 if theirs[key].is_floating_point() else torch.int64), key
        assert torch.equal(tensor.detach(), theirs[key].to(tensor.dtype)), key
    assert trainer.epochs_trained == SPECS[tag]["epoch"]


class Original(nn.Module):
    """A module with the tensors of an original's checkpoint; those that it shares are one, as there."""

    def __init__(self, tag: str, state: dict[str, Tensor]) -> None:
        super().__init__()
        made: dict[tuple[str, str], nn.Parameter] = {}
        for key, tensor in state.items():
            path, _, name = key.rpartition(".")
            owner: nn.Module = self
            for part in filter(None, path.split(".")):
                if not hasattr(owner, part):
                    owner.add_module(part, nn.Module())
                owner = getattr(owner, part)
            if not tensor.is_floating_point():
                owner.register_buffer(name, tensor.clone())
                continue
            drawn = SPECS[tag]["drawn"].get(key)
            same = (drawn[0], drawn[1] or key) if drawn else ("", key)
            owner.register_parameter(name, made.setdefault(same, nn.Parameter(tensor.clone())))


@every_tag
def test_ours_load_into_theirs(make: Build, original: Callable[..., Path], tmp_path: Path, tag: str) -> None:
    make(tag, "OPTIM.WARMUP_EPOCH", "1", "OPTIM.WARMUP_TYPE", "constant", output=tmp_path / "ours").train()
    folder = tmp_path / "ours" / Path(RECORDED[tag]["path"]).parts[1]
    assert (folder / "checkpoint").read_text() == "model.pth.tar-2\n"
    # what theirs reads with: nothing is allowed beside tensors and plain values
    checkpoint = torch.load(folder / "model.pth.tar-2", map_location="cpu", weights_only=True)
    assert {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} <= set(checkpoint)
    assert checkpoint["epoch"] == 2 and checkpoint["val_result"] is None
    assert checkpoint["optimizer"]["state"] and checkpoint["scheduler"]["last_epoch"] == 1
    assert checkpoint["scheduler"]["successor"]["last_epoch"] == 1
    ours = checkpoint["state_dict"]
    assert {key: tuple(tensor.shape) for key, tensor in ours.items()} == needed(tag)

    [path] = original(tag).glob("*/model*")
    before = torch.load(path, weights_only=False)["state_dict"]
    theirs = Original(tag, before)
    found = theirs.load_state_dict(ours, strict=False)
    assert not found.unexpected_keys
    after = theirs.state_dict()
    for key, tensor in ours.items():
        assert torch.equal(after[key], tensor) and not torch.equal(after[key], before[key]), key
    # what they share is loaded with it; all else is frozen, or never used
    unused = tuple(part for part in CASES[tag].leftovers if part not in TWICE)
    for key in SPECS[tag]["drawn"]:
        if not key.startswith(unused) and not key.startswith("clip_model.transformer"):
            assert not torch.equal(after[key], before[key]), key
