"""DPC on trainers that know nothing of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, set_random_seed
from tests.dassl.tiny import N_CLASSES, TinyCoOp, tiny_cfg, write_images
from trainers.coop import CoOp
from trainers.plugins.dpc.anywhere import AnyDPC, extend_cfg, with_dpc
from trainers.plugins.dpc.loss import contrastive_loss

Make = Callable[..., Any]


class Deep(nn.Module):
    """Prompts in a list, a frozen part, and a part in two places, in one registered model."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = nn.ParameterList([torch.zeros(3, N_CLASSES), torch.ones(3)])
        self.head = nn.Linear(3, 3)
        self.again = self.head
        self.frozen = nn.Linear(3, 3)
        self.frozen.requires_grad_(False)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.frozen(images.mean((2, 3))) * self.prompts[1]
        logits = self.head(features) @ self.prompts[0] + self.again(features)
        return F.cross_entropy(logits, labels) if self.training else logits


class Whole(TrainerX):
    """As MaPLe is written: the whole model is registered, and gives a loss in training mode."""

    def build_model(self) -> None:
        torch.manual_seed(3)
        self.model = Deep().to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("Deep", self.model, self.optim, self.sched)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        loss = self.model(batch["img"].to(self.device), batch["label"].to(self.device))
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        if directory:
            name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
            state = load_checkpoint(f"{directory}/Deep/{name}")["state_dict"]
            self.model.load_state_dict(state, strict=False)


class Two(Whole):
    """Two registered models, as a method with a part beside its prompts has."""

    def build_model(self) -> None:
        super().build_model()
        self.beside = nn.Linear(3, 3)
        optim = build_optimizer(self.beside, self.cfg.OPTIM)
        self.register_model("beside", self.beside, optim, build_lr_scheduler(optim, self.cfg.OPTIM))
        forward = self.model.forward
        self.model.forward = lambda images, labels=None: self._both(forward(images), labels)

    def _both(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.beside(logits)
        return logits if labels is None else F.cross_entropy(logits, labels)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        self.model.eval()
        self.model_backward_and_update(self.model(batch["img"], batch["label"]))
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {}

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        super(Whole, self).load_model(directory, epoch)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(TRAINER_REGISTRY, "_objects", dict(TRAINER_REGISTRY._objects))
    monkeypatch.setattr(TRAINER_REGISTRY, "_derived", {})
    yield


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def stages(images: Path, tmp_path: Path) -> Make:
    """stages(X, *options) -> X_DPC, from prompts that X has tuned."""

    def make(trainer: type[TrainerX], *options: object, output: str = "dpc") -> Any:
        backbone = tmp_path / trainer.__name__
        if not backbone.exists():
            set_random_seed(1)
            trainer(tiny_cfg(backbone, images, "TEST.NO_TEST", True)).train()
        cfg = tiny_cfg(tmp_path / output, images, "OPTIM.MAX_EPOCH", 2)
        cfg.defrost()
        extend_cfg(cfg)
        cfg.merge_from_list(["TRAINER.DPC.BACKBONE_DIR", str(backbone), "TRAINER.DPC.TOPK", 2, *options])
        cfg.freeze()
        set_random_seed(1)
        return with_dpc(trainer)(cfg)

    return make


def shown(trainer: Any, which: Any) -> dict[str, Tensor]:
    with trainer.dual_prompts.showing(which):
        return {
            "0": trainer.model.prompts[0].detach().clone(),
            "head": trainer.model.head.weight.detach().clone(),
        }


# -- the native one, without knowing any of it ---------------------------------------------------------


@pytest.mark.parametrize("reading", ["paper", "released", "direct"])
def test_on_coop_it_takes_the_steps_of_the_native_one(
    dpc: Make, build: Make, tmp_path: Path, reading: str
) -> None:
    options = ("TRAINER.DPC.VARIANT", reading, "TRAINER.DPC.TOPK", "3", "TEST.SAVE_LOGITS", "True")
    native = dpc("CoOp", *options, classes="base")
    native.train()

    class CoOpAnywhere(AnyDPC, CoOp):
        pass

    TRAINER_REGISTRY.register(CoOpAnywhere)
    words = ["TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", *options]
    words += ["TRAINER.DPC.BACKBONE_DIR", str(tmp_path / "CoOp-base")]
    ours = build("CoOpAnywhere", *words, output=tmp_path / "anywhere")
    ours.train()

    for prompt in ("tuned", "parallel", "base", "new"):
        with native.dual_prompts.showing(prompt), ours.dual_prompts.showing(prompt):
            expected, found = native.model.prompt_learner.ctx, ours.model.prompt_learner.ctx
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    with native.dual_prompts.showing("parallel"), torch.no_grad():
        moved = (native.model.prompt_learner.ctx - native.dual_prompts._parts["ctx"][0].tuned).abs().max()
    assert moved > 1e-3
    loaded = build("CoOpAnywhere", *words, output=tmp_path / "again")
    loaded.load_model(str(tmp_path / "anywhere"), 2)
    torch.testing.assert_close(loaded.test(), ours.test())


# -- a trainer of somebody else's ----------------------------------------------------------------------


def test_all_that_is_tuned_is_dual_and_nothing_else(stages: Make) -> None:
    trainer = stages(Whole)
    assert set(trainer.dual_prompts._parts) == {
        "Deep.prompts.0", "Deep.prompts.1", "Deep.head.weight", "Deep.head.bias"
    }  # fmt: skip
    tuned, frozen = shown(trainer, "tuned"), trainer.model.frozen.weight.clone()
    trainer.train()
    assert torch.equal(trainer.model.frozen.weight, frozen)
    parallel, new, base = (shown(trainer, name) for name in ("parallel", "new", "base"))
    for name, before in tuned.items():
        assert torch.equal(shown(trainer, "tuned")[name], before)
        assert (parallel[name] - before).abs().max() > 1e-3
        torch.testing.assert_close(new[name], 1e-6 * parallel[name] + (1 - 1e-6) * before)
        assert torch.equal(base[name], parallel[name]), "released: base classes see P'"


def test_a_step_is_the_contrastive_loss_of_the_columns_of_its_pairs(stages: Make) -> None:
    trainer = stages(Whole, "TRAINER.DPC.VARIANT", "direct", "OPTIM.MOMENTUM", 0.0, "OPTIM.WEIGHT_DECAY", 0.0)
    trainer.prepare()
    trainer.before_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches, trainer.batch_idx = 2, 0
    before = shown(trainer, "tuned")["head"].double().requires_grad_()
    model, (batch, *_) = trainer.model, list(trainer.train_batches())
    labels = batch["label"]
    with trainer.dual_prompts.showing("tuned"):
        scale, last, bias = (
            tensor.detach().double() for tensor in (model.prompts[1], model.prompts[0], model.head.bias)
        )
    with torch.no_grad():
        features = (model.frozen(batch["img"].mean((2, 3)))).double() * scale
    head = features @ before.t() + bias
    logits = head @ last + head
    loss = contrastive_loss(torch.stack([logits[:, label] for label in labels.tolist()], dim=1), "sum")
    (gradient,) = torch.autograd.grad(loss, before)

    summary = trainer.forward_backward(batch)
    assert float(summary["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    expected = before.detach() - trainer.get_current_lr() * gradient
    torch.testing.assert_close(shown(trainer, "parallel")["head"].double(), expected, rtol=1e-5, atol=1e-8)


def test_negatives_are_what_the_tuned_model_confuses(stages: Make) -> None:
    trainer = stages(Whole)
    trainer.train()  # P' has gone elsewhere
    pixels = torch.stack([trainer.dm.load_item(item, 0, False) for item in trainer.dm.dataset.test])
    with trainer.dual_prompts.showing("tuned"), torch.no_grad():
        trainer.model.eval()
        expected = trainer.model(pixels)
    assert torch.equal(trainer.rank(pixels).scores, expected)
    with trainer.dual_prompts.showing("parallel"), torch.no_grad():
        assert not torch.equal(trainer.model.eval()(pixels), expected)


def test_checkpoints_have_the_trainer_s_own_names(stages: Make, tmp_path: Path) -> None:
    trainer = stages(Whole, "TEST.SAVE_LOGITS", True)
    trainer.train()
    stored = load_checkpoint(str(tmp_path / "dpc" / "Deep" / "model.pth.tar-2"))
    assert set(stored["state_dict"]) == set(Deep().state_dict())
    assert torch.equal(stored["state_dict"]["prompts.0"], shown(trainer, "parallel")["0"])
    assert torch.equal(stored["state_dict"]["again.weight"], stored["state_dict"]["head.weight"])

    again = stages(Whole, output="again")
    again.load_model(str(tmp_path / "dpc"), 2)
    for which in ("tuned", "base", "new"):
        for name, tensor in shown(trainer, which).items():
            assert torch.equal(shown(again, which)[name], tensor)
    again.set_model_mode("eval")
    assert torch.equal(again.model.prompts[0], shown(again, "base")["0"]), "it was tuned on these classes"
    again.lab2cname = {0: "elsewhere"}
    again.set_model_mode("eval")
    assert torch.equal(again.model.prompts[0], shown(again, "new")["0"])


def test_an_interrupted_run_goes_on_bit_for_bit(
    stages: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stages(Whole, "OPTIM.MAX_EPOCH", 3)
    whole.train()
    cut = stages(Whole, "OPTIM.MAX_EPOCH", 3, output="cut")
    plain = cut.before_epoch
    monkeypatch.setattr(cut, "before_epoch", lambda: plain() if cut.epoch < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cut.train()
    resumed = stages(Whole, "OPTIM.MAX_EPOCH", 3, output="cut")
    resumed.train()
    assert resumed.start_epoch == 2
    for name, tensor in shown(whole, "parallel").items():
        assert torch.equal(shown(resumed, "parallel")[name], tensor)


def test_the_trainer_s_own_loss_may_stay(stages: Make) -> None:
    class Kept(Whole):
        def own_loss(self, images: Tensor, labels: Tensor) -> Tensor:
            return 0 * images.sum() + 5

    def losses(*options: object, output: str) -> Any:
        trainer = stages(Kept, *options, output=output)
        trainer.own_loss = lambda images, labels: Kept.own_loss(trainer, images, labels)
        trainer.prepare()
        trainer.before_epoch()
        trainer.set_model_mode("train")
        trainer.num_batches = 2
        return trainer.forward_backward(next(iter(trainer.train_batches())))

    kept, left = losses(output="kept"), losses("TRAINER.DPC.KEEP_BACKBONE_LOSS", False, output="left")
    assert float(kept["loss"]) == pytest.approx(float(kept["loss_cl"]) + 5)
    assert "loss_own" not in left and torch.equal(left["loss"], left["loss_cl"])
    assert torch.equal(left["loss_cl"], kept["loss_cl"])


def test_without_hard_negatives_the_trainer_takes_its_own_steps(stages: Make) -> None:
    trainer = stages(Whole, "TRAINER.DPC.HARD_NEGATIVES", False)
    before = shown(trainer, "parallel")
    trainer.train()
    assert not torch.equal(shown(trainer, "parallel")["head"], before["head"])
    assert torch.equal(shown(trainer, "tuned")["head"], before["head"])


def test_losses_are_scaled_as_the_trainer_does(stages: Make) -> None:
    """A gradient scaler of the trainer's own is used, and changes no step in float32."""

    class Scaled(TinyCoOp):
        def build_model(self) -> None:
            super().build_model()
            self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    def train(trainer: type[TrainerX], output: str) -> Tensor:
        made = stages(trainer, output=output)
        made.train()
        with made.dual_prompts.showing("parallel"):
            return made.model.prompt_learner.ctx.detach().clone()

    plain, scaled = train(TinyCoOp, "plain"), train(Scaled, "scaled")
    assert plain.abs().max() > 0.01
    torch.testing.assert_close(scaled, plain, rtol=0.05, atol=5e-3)  # autocast computes in bfloat16


@pytest.mark.parametrize("weight", [0.2, 0.5, 1.0])
def test_two_models_under_another_weight(stages: Make, tmp_path: Path, weight: float) -> None:
    trained = stages(Two, "TRAINER.DPC.VARIANT", "paper", "TRAINER.DPC.WEIGHT_BASE", 0.2)
    trained.train()
    again = stages(Two, "TRAINER.DPC.VARIANT", "paper", "TRAINER.DPC.WEIGHT_BASE", weight, output="again")
    again.load_model(str(tmp_path / "dpc"), 2)
    parts = trained.dual_prompts._parts, again.dual_prompts._parts
    assert parts[0].keys() == parts[1].keys() and "beside.weight" in parts[0]
    with trained.dual_prompts.showing("parallel"), again.dual_prompts.showing("parallel"):
        torch.testing.assert_close(again.beside.weight, trained.beside.weight)
        torch.testing.assert_close(again.model.prompts[0], trained.model.prompts[0])
        moved = (trained.beside.weight - parts[0]["beside.weight"][0].tuned).abs().max()
    assert moved > 1e-3


def test_a_run_without_its_resume_file_goes_on_with_the_same_p(stages: Make, tmp_path: Path) -> None:
    first = stages(Whole, "TRAIN.CHECKPOINT_FREQ", 1, "OPTIM.MAX_EPOCH", 3)
    plain = first.before_epoch
    first.before_epoch = lambda: plain() if first.epoch < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        first.train()
    (tmp_path / "dpc" / "resume.pth.tar").unlink()
    backbone = tmp_path / "Whole" / "Deep" / "model.pth.tar-4"
    stored = torch.load(backbone, weights_only=False)
    stored["state_dict"]["prompts.0"] += 5
    torch.save(stored, backbone)
    with pytest.raises(ValueError, match="holds other prompts than those"):
        stages(Whole, "TRAIN.CHECKPOINT_FREQ", 1, "OPTIM.MAX_EPOCH", 3).train()


def test_classes_of_the_same_names_elsewhere_are_new(stages: Make, tmp_path: Path) -> None:
    stages(Whole).train()
    again = stages(Whole, output="again")
    again.load_model(str(tmp_path / "dpc"), 2)
    assert again.on_source_classes()
    again.lab2cname = dict(list(again.lab2cname.items())[:2])
    assert again.on_source_classes(), "some of them"
    again.cfg.defrost()
    again.cfg.DATASET.NAME = "ShiftedImages"
    assert not again.on_source_classes()
    again.cfg.TRAINER.DPC.DECOUPLING = False
    assert again.on_source_classes()


# -- what does not work is said ------------------------------------------------------------------------


class Detached(Whole):
    def build_model(self) -> None:
        super().build_model()
        forward = self.model.forward
        self.model.forward = lambda images, labels=None: forward(images, labels).detach()


class Single(Whole):
    def build_model(self) -> None:
        super().build_model()
        forward = self.model.forward
        self.model.forward = lambda images, labels=None: (forward(images, labels),)

    def model_inference(self, images: Tensor) -> Tensor:
        return self.model(images)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("TRAINER.DPC.NEGATIVE_POOL", "train"),
            "NEGATIVE_POOL is 'train', but TinyImages has no train_full",
        ),
        (("TRAINER.DPC.TOPK", 1), "TRAINER.DPC.TOPK is 1"),
        (("TRAINER.DPC.BACKBONE_DIR", "nowhere"), "TRAINER.DPC.BACKBONE_DIR is 'nowhere'"),
        (("TRAINER.DPC.BACKBONE_EPOCH", 9), "no model.pth.tar-9 .* Epochs there: 4"),
        (("TRAINER.DPC.WEIGHT_BASE", 0.0), "WEIGHT_BASE is 0, which evaluates P"),
    ],
)
def test_settings_that_cannot_be(stages: Make, options: tuple[object, ...], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        stages(Whole, *options).train()


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (Detached, "logits of Detached do not depend on its parameters: override AnyDPC.training_logits"),
        (Single, r"needs logits \[\d+, 3\], but the model of Single gave tuple: override"),
    ],
)
def test_models_that_cannot_be(stages: Make, tmp_path: Path, trainer: type[TrainerX], message: str) -> None:
    stages(Whole)
    (tmp_path / "Whole").rename(tmp_path / trainer.__name__)
    with pytest.raises(ValueError, match=message):
        stages(trainer, "TRAINER.DPC.BACKBONE_DIR", str(tmp_path / trainer.__name__)).train()


def test_settings_without_dpc(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"cfg.TRAINER.DPC is missing, which Whole_DPC needs: call .*extend_cfg"
    ):
        with_dpc(Whole)(tiny_cfg(tmp_path / "output", images))


def test_a_checkpoint_without_dpc_is_refused(stages: Make, tmp_path: Path) -> None:
    trainer = stages(Whole)
    with pytest.raises(ValueError, match="was not written by a trainer with DPC"):
        trainer.load_model(str(tmp_path / "Whole"), 4)


def test_one_trained_from_another_p_is_refused(stages: Make, tmp_path: Path) -> None:
    stages(Whole).train()
    options = ("TRAINER.DPC.BACKBONE_EPOCH", 4)
    other = tmp_path / "Whole" / "Deep" / "model.pth.tar-4"
    stored = torch.load(other, weights_only=False)
    stored["state_dict"]["prompts.0"] += 1
    torch.save(stored, other)
    with pytest.raises(ValueError, match="holds other prompts than those"):
        stages(Whole, *options, output="other").load_model(str(tmp_path / "dpc"), 2)


def test_idle_options_are_named(stages: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stages(Whole, "TRAINER.DPC.KEEP_BACKBONE_LOSS", False)
    assert "KEEP_BACKBONE_LOSS has no effect: Whole has no loss beside" in caplog.text


def test_names_with_the_suffix_are_made_when_they_are_asked_for() -> None:
    TRAINER_REGISTRY.register(Whole)
    TRAINER_REGISTRY.derive("_DPC", with_dpc)
    made = TRAINER_REGISTRY.get("Whole_DPC")
    assert issubclass(made, AnyDPC) and issubclass(made, Whole) and made.__name__ == "Whole_DPC"
    assert TRAINER_REGISTRY.get("Whole_DPC") is made
    with pytest.raises(ValueError, match=r"'Wohle_DPC' is not registered .*Whole_DPC"):
        TRAINER_REGISTRY.get("Wohle_DPC")
