"""What every method must hold, one table of cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import trainers
from clip import CLIP, tokenize
from dassl.engine import TRAINER_REGISTRY, runtime
from trainers.core import PromptTrainer
from trainers.plugins.dpc import DPC

Build = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A method, the options that make it small, and those under which its text prompts are plain words."""

    trainer: str
    options: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()

    @property
    def backbone(self) -> str:
        return self.trainer.removesuffix("_DPC")


WORDS = "a photo of a"
PAPER = ("TRAINER.DPC.VARIANT", "paper")
DIRECT = ("TRAINER.DPC.VARIANT", "direct")
TEXT_ALONE = ("TRAINER.IVLP.PROMPT_DEPTH_VISION", "0", "TRAINER.IVLP.N_CTX_VISION", "0")
MMRL = ("TRAINER.TASK", "B2N", "TRAINER.MMRL.REP_LAYERS", "[1, 2]", "TRAINER.MMRL.REP_DIM", "16")
MMRLPP = tuple(word.replace("MMRL", "MMRLpp") for word in (*MMRL, "TRAINER.MMRL.PROJ_LORA_DIM", "4"))
CASES = [
    Case("CoOp", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case(
        "CoOp",
        (
            "TRAINER.COOP.N_CTX",
            "3",
            "TRAINER.COOP.CSC",
            "True",
            "TRAINER.COOP.CLASS_TOKEN_POSITION",
            "middle",
        ),
    ),
    Case("CoCoOp", ("TRAINER.COCOOP.N_CTX", "4"), ("TRAINER.COCOOP.CTX_INIT", WORDS)),
    Case("VPT", ("TRAINER.VPT.PROMPT_DEPTH_VISION", "2"), ("TRAINER.VPT.CTX_INIT", WORDS)),
    Case("IVLP", (), ("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "1")),
    Case("IVLP", TEXT_ALONE, ("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "1")),
    Case("MaPLe", (), ("TRAINER.MAPLE.PROMPT_DEPTH", "1")),
    Case("PromptSRC", ("TRAINER.PROMPTSRC.GPA_MEAN", "1"), ("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", "1")),
    Case("KgCoOp", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case(
        "ContCoOp",
        ("TRAINER.COOP.N_CTX", "4"),
        ("TRAINER.COOP.CTX_INIT", WORDS, "TRAINER.CONTCOOP.INIT_SCALE", "0"),
    ),
    Case("MMRL", MMRL),
    Case("MMRLpp", MMRLPP),
    Case("TCP", ("TRAINER.COOP.N_CTX", "4", "TRAINER.TCP.BLOCK", "1")),
    Case("E2MIM", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("E2MIM", ("TRAINER.COOP.N_CTX", "4", "TRAINER.E2MIM.CRITIC", "bilinear")),
    Case("CoOp_DePT", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("CoOp_DePT", ("TRAINER.COOP.N_CTX", "4", "TRAINER.DEPT.FILM", "False")),
    Case("KgCoOp_DePT", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("ContCoOp_DePT", ("TRAINER.COOP.N_CTX", "4")),
    Case("E2MIM_DePT", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("TCP_DePT", ("TRAINER.COOP.N_CTX", "4", "TRAINER.TCP.BLOCK", "1")),
    Case("VPT_DePT", ("TRAINER.VPT.PROMPT_DEPTH_VISION", "2"), ("TRAINER.VPT.CTX_INIT", WORDS)),
    Case("IVLP_DePT", (), ("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "1")),
    Case("MaPLe_DePT", (), ("TRAINER.MAPLE.PROMPT_DEPTH", "1")),
    Case("PromptSRC_DePT", ("TRAINER.PROMPTSRC.GPA_MEAN", "1"), ("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", "1")),
    Case("CoOp_DPC", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("CoOp_DPC", ("TRAINER.COOP.N_CTX", "4", *PAPER), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("CoOp_DPC", ("TRAINER.COOP.N_CTX", "4", *DIRECT), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("CoOp_DPC", ("TRAINER.COOP.N_CTX", "4", "TRAINER.DPC.HARD_NEGATIVES", "False")),
    Case("KgCoOp_DPC", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case(
        "ContCoOp_DPC",
        ("TRAINER.COOP.N_CTX", "4"),
        ("TRAINER.COOP.CTX_INIT", WORDS, "TRAINER.CONTCOOP.INIT_SCALE", "0"),
    ),
    Case("ContCoOp_DPC", ("TRAINER.COOP.N_CTX", "4", "TRAINER.DPC.MIX", "contexts", *PAPER)),
    Case("MMRL_DPC", MMRL),
    Case("MMRL_DPC", (*MMRL, *PAPER)),
    Case("MMRLpp_DPC", MMRLPP),
    Case("TCP_DPC", ("TRAINER.COOP.N_CTX", "4", "TRAINER.TCP.BLOCK", "1")),
    Case("TCP_DPC", ("TRAINER.COOP.N_CTX", "4", "TRAINER.TCP.BLOCK", "1", *PAPER)),
    Case("E2MIM_DPC", ("TRAINER.COOP.N_CTX", "4"), ("TRAINER.COOP.CTX_INIT", WORDS)),
    Case("CoCoOp_DPC", ("TRAINER.COCOOP.N_CTX", "4"), ("TRAINER.COCOOP.CTX_INIT", WORDS)),
    Case("VPT_DPC", ("TRAINER.VPT.PROMPT_DEPTH_VISION", "2"), ("TRAINER.VPT.CTX_INIT", WORDS)),
    Case("IVLP_DPC", PAPER, ("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "1")),
    Case("IVLP_DPC", TEXT_ALONE, ("TRAINER.IVLP.PROMPT_DEPTH_TEXT", "1")),
    Case("MaPLe_DPC", (), ("TRAINER.MAPLE.PROMPT_DEPTH", "1")),
    Case("MaPLe_DPC", PAPER, ("TRAINER.MAPLE.PROMPT_DEPTH", "1")),
    Case("PromptKD", ("TRAINER.PROMPTKD.PROMPT_DEPTH_VISION", "2")),
    Case("PromptKD_DPC"),
    Case("PromptKD_DPC", PAPER),
    Case("PromptKD_DPC", DIRECT),
    Case("PromptKD_DPC", (*PAPER, "TRAINER.DPC.DECOUPLING", "False", "TRAINER.DPC.QUERY", "student")),
    Case("PromptSRC_DPC", ("TRAINER.PROMPTSRC.GPA_MEAN", "1"), ("TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", "1")),
    Case("PromptSRC_DPC", ("TRAINER.PROMPTSRC.GPA_MEAN", "1", *PAPER)),
]
ids = [f"{case.trainer}{'-' + case.options[-1] if case.options else ''}" for case in CASES]
every_case = pytest.mark.parametrize("case", CASES, ids=ids)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs that cases build on, each trained once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def make(build: Build, kept: Path, tiny_clip_file: Path) -> Callable[..., Any]:
    """make(case, *options) -> trainer; what its method builds on is trained first, in fp32."""

    def trained(trainer: str, *options: str) -> str:
        pairs = zip(options[::2], options[1::2], strict=True)
        words = [word for pair in pairs if not pair[0].endswith(".PREC") for word in pair]
        words += [f"TRAINER.{TRAINER_REGISTRY.get(trainer).NODE}.PREC", "fp32", "TEST.NO_TEST", "True"]
        folder = kept / f"{trainer}{abs(hash(tuple(words)))}"
        if not folder.exists():
            build(trainer, *words, output=folder).train()
        return str(folder)

    def make_trainer(case: Case, *options: str, fp32: bool = True, **settings: Any) -> Any:
        node = TRAINER_REGISTRY.get(case.backbone).NODE
        words = [*case.options, *options, *((f"TRAINER.{node}.PREC", "fp32") if fp32 else ())]
        if case.backbone == "PromptKD":
            words += ["TRAINER.PROMPTKD.TEACHER_PATH", str(tiny_clip_file)]
            words += ["TRAINER.PROMPTKD.TEACHER_DIR", trained("PromptSRC")]
        if case.trainer != case.backbone:
            pairs = zip(words[::2], words[1::2], strict=True)
            own = [word for pair in pairs if "DPC" not in pair[0] for word in pair]
            words += ["TRAINER.DPC.BACKBONE_DIR", trained(case.backbone, *own)]
        return build(case.trainer, *words, **settings)

    return make_trainer


def one_step(trainer: Any) -> None:
    """One optimiser step at full learning rate."""
    trainer.before_train()
    trainer.before_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = len(trainer.train_loader_x)
    trainer.forward_backward(next(iter(trainer.train_batches())))


def tuned(trainer: Any) -> dict[str, torch.Tensor]:
    return {key: leaf.detach().clone() for key, leaf in trainer.model.prompt_learner.tuned_tensors().items()}


def logits_of(trainer: Any) -> torch.Tensor:
    """Logits of the whole test split."""
    trainer.start_test("test")
    with torch.no_grad():
        return torch.cat(
            [trainer.model_inference(trainer.parse_batch_test(b)[0]) for b in trainer.test_loader]
        )


def test_the_table_holds_every_method_that_is_trained() -> None:
    names = {
        n for n in TRAINER_REGISTRY.registered_names() if issubclass(TRAINER_REGISTRY.get(n), PromptTrainer)
    }
    ours = {n for n in names if TRAINER_REGISTRY.get(n).__module__.startswith(trainers.__name__)}
    assert ours == {case.trainer for case in CASES}


@every_case
def test_a_step_moves_every_prompt_and_nothing_else(make: Build, case: Case) -> None:
    trainer = make(case)
    frozen = {key: value.clone() for key, value in trainer.model.clip.state_dict().items()}
    before = tuned(trainer)
    one_step(trainer)
    after = tuned(trainer)
    assert all(not torch.equal(before[key], after[key]) for key in before)
    assert all(torch.equal(frozen[key], value) for key, value in trainer.model.clip.state_dict().items())
    assert not any(parameter.requires_grad for parameter in trainer.model.clip.parameters())


@every_case
def test_tuned_prompt_stays_under_dpc(make: Build, case: Case) -> None:
    trainer = make(case)
    if not isinstance(trainer, DPC):
        pytest.skip("not a DPC method")
    images = torch.randn(2, 3, 32, 32)

    def logits(mode: str) -> torch.Tensor:
        with trainer.dual_prompts.showing(mode), torch.no_grad():
            return trainer.model(images)

    before = logits("tuned")
    one_step(trainer)
    assert torch.equal(logits("tuned"), before)
    assert not torch.equal(logits("parallel"), before)


@every_case
def test_logits_shape_and_class_subsets(make: Build, case: Case) -> None:
    trainer = make(case)
    logits = logits_of(trainer)
    assert logits.shape == (9, 3) and logits.dtype == torch.float32
    with torch.no_grad():
        images = trainer.parse_batch_test(next(iter(trainer.test_loader)))[0]
        features = trainer.model.image_features(images)
        classes = torch.tensor([2, 0])
        some = trainer.model.class_logits(features, trainer.model.text_features(classes), classes)
    torch.testing.assert_close(some, logits[: len(images)][:, [2, 0]], atol=1e-4, rtol=1e-4)


@every_case
def test_checkpoint_round_trip_is_small(make: Build, case: Case, tmp_path: Path) -> None:
    trainer = make(case)
    one_step(trainer)
    logits = logits_of(trainer)
    trainer.save_model(0, str(tmp_path / "saved"))
    [path] = (tmp_path / "saved").glob("*/model.pth.tar-1")
    assert path.parent.name == trainer.MODEL_NAME
    weights = sum(tensor.numel() * 4 for tensor in tuned(trainer).values())
    assert path.stat().st_size < 3 * weights + 60_000  # with momentum, without frozen weights
    other = make(case, seed=2)
    assert not torch.allclose(logits_of(other), logits, atol=1e-3)
    other.load_model(str(tmp_path / "saved"), epoch=1)
    torch.testing.assert_close(logits_of(other), logits, atol=1e-6, rtol=0)


@every_case
def test_kept_image_features_change_nothing(make: Build, case: Case, tmp_path: Path) -> None:
    trainer = make(case, "TEST.SAVE_LOGITS", "True", output=tmp_path / "run")
    for _ in range(2):  # features that were kept before a step must not be taken for those behind it
        trainer.test()
        evaluated = np.load(tmp_path / "run" / "logits.npz")["logits"]
        np.testing.assert_allclose(evaluated, logits_of(trainer).numpy(), atol=1e-5, rtol=0)
        one_step(trainer)


@every_case
def test_a_seed_reproduces_training_bit_for_bit(make: Build, case: Case, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer = make(case, "TEST.NO_TEST", "True", output=tmp_path / name, seed=seed)
        trainer.train()
        runs.append(tuned(trainer))
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert any(not torch.equal(runs[0][key], runs[2][key]) for key in runs[0])


@every_case
def test_plain_words_give_zero_shot_logits(make: Build, case: Case, tiny_clip: CLIP) -> None:
    if not case.neutral:
        pytest.skip("has no neutral setting")
    trainer = make(
        Case(case.trainer, (*case.options, *case.neutral)), "OPTIM.LR", "1e-12", "OPTIM.WARMUP_EPOCH", "-1"
    )
    texts = [f"{WORDS} {name}." for name in trainer.dm.dataset.classnames]
    trainer.set_model_mode("eval")
    expected = F.normalize(tiny_clip.encode_text(tokenize(texts)), dim=-1)
    learner, model = trainer.model.prompt_learner, trainer.model
    image_features = F.normalize(torch.randn(4, 32), dim=-1)
    with torch.no_grad():
        for key, leaf in learner.tuned_tensors().items():
            if "meta_net" in key:
                leaf.zero_()
        expected = model.logits(image_features, expected)
        torch.testing.assert_close(
            model.class_logits(image_features, model.text_features(), None), expected, atol=1e-4, rtol=0
        )
        if not any(key.endswith("ctx") for key in learner.tuned_tensors()):
            return
        for leaf in learner.tuned_tensors().values():
            leaf += torch.randn_like(leaf)  # a constant would vanish in the layer norms
        changed = model.class_logits(image_features, model.text_features(), None)
        assert not torch.allclose(changed, expected, atol=1e-2)


@every_case
@pytest.mark.parametrize("precision", ["bf16", "fp16", "amp"])
def test_every_precision_trains_on_this_machine(make: Build, case: Case, precision: str, caplog: Any) -> None:
    node = TRAINER_REGISTRY.get(case.backbone).NODE
    trainer = make(case, f"TRAINER.{node}.PREC", precision, fp32=False)
    one_step(trainer)
    assert torch.isfinite(logits_of(trainer)).all()
    if not torch.cuda.is_available() and precision != "bf16":
        assert any(f"PREC is {precision}" in message and "fp32" in message for message in caplog.messages)


def dtypes(module: torch.nn.Module) -> dict[str, torch.dtype]:
    return {name: tensor.dtype for name, tensor in module.state_dict(keep_vars=True).items()}


@every_case
@pytest.mark.parametrize("precision", ["fp16", "bf16", "amp", "amp_bf16"])
def test_every_precision_of_a_gpu_takes_a_step(
    make: Build, case: Case, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forced on this machine, whatever it has a use for: number formats meet as they do on a GPU."""
    make(case)  # trains in fp32 what the case builds on
    monkeypatch.setattr(runtime, "no_use_for", lambda precision, device: "")
    node = TRAINER_REGISTRY.get(case.backbone).NODE
    trainer = make(case, f"TRAINER.{node}.PREC", precision, fp32=False)
    towers = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    frozen = [trainer.model.clip, *([trainer.model.teacher.clip] if case.backbone == "PromptKD" else [])]
    formats = [dtypes(module) for module in frozen]
    assert all(towers in found.values() for found in formats)
    assert (trainer.scaler is not None) == (precision == "amp")

    trainer.prepare()
    trainer.before_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = len(trainer.train_loader_x)
    before = tuned(trainer)
    for _ in range(20 if precision == "amp" else 1):  # a scaler finds its scale first
        summary = trainer.forward_backward(next(iter(trainer.train_batches())))
        assert all(torch.isfinite(torch.as_tensor(value)) for value in summary.values()), summary
        after = tuned(trainer)
        if all(not torch.equal(before[key], after[key]) for key in before):
            break
    for key, leaf in after.items():
        assert leaf.dtype == torch.float32 and leaf.isfinite().all(), key
        assert not torch.equal(before[key], leaf), f"{key} has not moved"
    assert [dtypes(module) for module in frozen] == formats

    logits = logits_of(trainer)
    assert logits.dtype == torch.float32 and logits.isfinite().all()
    images, _ = trainer.parse_batch_test(next(iter(trainer.test_loader)))
    with torch.no_grad(), trainer.precision.autocast():
        features = [trainer.model.image_features(images), trainer.model.text_features()]
    for found in features:
        if found is not None:  # CoCoOp's text features depend on the image
            assert found.dtype == torch.float32
            norms = found.unflatten(1, (-1, 32)).norm(dim=2)  # MMRL's images have two features side by side
            torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-3, rtol=0)
