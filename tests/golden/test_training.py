"""Whole training trajectories of the original repositories, through the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import train
from tests.golden.commands import load, run
from trainers.core import PromptTrainer
from trainers.plugins.dpc import plugin

RECORDS = (
    "train/coop_ctx4", "train/coop_ctx4_scratch", "train/coop_csc16_base", "train/kgcoop", "train/cocoop",
    "train/ivlp", "train/maple", "train/promptsrc", "train/promptsrc_gpa15", "train/promptkd",
    "train/dept_coop", "train/dept_kgcoop", "train/dept_maple",
    "train/tcp", "train/tcp_eps1e-8", "train/mmrl", "train/mmrlpp",
    "dpc/traj_coop_allclasses", "dpc/traj_kd_allclasses",
)  # fmt: skip
OTHERWISE = {"train/tcp_eps1e-8": ("OPTIM.ADAM_EPS", "1e-8")}  # what made a record and no command says


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """(loss, learning rate) of every step that any trainer makes."""
    seen: list[tuple[float, float]] = []
    original = PromptTrainer.forward_backward

    def recording(self: PromptTrainer, batch: Any) -> Any:
        rate = self.get_current_lr()
        summary = original(self, batch)
        seen.append((float(summary["loss"]), rate))
        return summary

    monkeypatch.setattr(PromptTrainer, "forward_backward", recording)
    return seen


def sample(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    """The entries of a large tensor that the records keep."""
    index = np.random.default_rng([crc32(name.encode())]).choice(tensor.size, 4096, replace=False)
    return tensor.reshape(-1)[np.sort(index)]


def assert_tensors(
    tuned: dict[str, torch.Tensor], record: Any, tolerance: dict[str, float], norm: dict[str, float]
) -> None:
    """||ours - record|| <= tolerance * ||final - init|| for every tuned tensor."""
    assert tuned.keys() >= tolerance.keys()
    # That bias stands before a batch norm: its gradient is 0, the recorded one rounding noise.
    extra = {name for name in tuned if re.search(r"running_|num_batches|conv1\.0\.bias", name)}
    assert tuned.keys() - extra == tolerance.keys() - extra
    for name in tolerance.keys() - extra:
        ours = tuned[name].numpy()
        key = f"final/{name}" if f"final/{name}" in record else f"final/{name}#sample"
        if key.endswith("#sample"):
            ours = sample(name, ours)
        scale = np.sqrt(tuned[name].numel() / ours.size)
        distance = scale * np.linalg.norm((ours - record[key]).ravel())
        assert distance <= tolerance[name] * norm[name], name


@pytest.fixture
def recorded(
    golden_checkpoints: Callable[[str], Path], translated: Callable[[str], list[str]]
) -> Callable[[str, str], list[str]]:
    """recorded(name, command) -> our command line for a recorded training."""

    def words(name: str, command: str) -> list[str]:
        start = []
        if "traj_kd" in name:  # the authors' random start of the deep text prompts
            path = golden_checkpoints("dpc_promptkd_init") / "VLPromptLearner/model.pth.tar-20"
            start = ["MODEL.INIT_WEIGHTS", str(path)]
        return [*translated(command), *start]

    return words


def assert_final(output: Path, name: str, entry: dict[str, Any], record: Any) -> None:
    """Compare the checkpoint of a finished training with the record."""
    [path] = output.glob("*/model.pth.tar-*")
    tuned = torch.load(path, weights_only=True)["state_dict"]
    if "traj_kd" in name:
        tuned = {re.sub(r"^text_encoder", "prompt_learner.text_encoder", k): v for k, v in tuned.items()}
    norm = entry["tolerance"]["update_norm"]
    tolerance = entry["tolerance"]["final_rel_to_update_norm"]
    each = tolerance if isinstance(tolerance, dict) else dict.fromkeys(norm, tolerance)
    assert_tensors(tuned, record, each, norm)


@pytest.mark.usefixtures("pillow_of_the_records")
@pytest.mark.parametrize("name", RECORDS)
def test_trajectory(
    golden: Path,
    recorded: Callable[[str, str], list[str]],
    tmp_path: Path,
    losses: list[tuple[float, float]],
    name: str,
) -> None:
    entry, record = load(golden, name)
    run([*recorded(name, entry["command"]), *OTHERWISE.get(name, ())])
    expected = record["loss_f64"]
    atol = 1e-4 * max(1.0, expected.max())
    np.testing.assert_allclose([loss for loss, _ in losses], expected, rtol=0, atol=atol)
    np.testing.assert_allclose([rate for _, rate in losses], record["lr_f64"], rtol=1e-6)
    assert_final(tmp_path, name, entry, record)


@pytest.mark.parametrize(
    ("w", "variant", "kind"),
    [(0.2, "released", "alias"), (0.5, "released", "alias"), (1.0, "released", "alias"),
     (0.2, "paper", "noalias"), (0.5, "paper", "noalias")],
)  # fmt: skip
def test_dpc_steps_on_a_fixed_mini_batch(
    golden: Path,
    translated: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    w: float,
    variant: str,
    kind: str,
) -> None:
    """ "released" is upstream as it runs; "paper" is upstream's formulas but for the factor 2 of Eq. 9."""
    entry, record = load(golden, "dpc/minibatch_coop")
    prefix = f"w{w}/{kind}"
    if f"{prefix}/loss" not in record:
        pytest.skip(
            f"dpc/minibatch_coop has no {prefix} in the part of the records that the repository holds"
        )
    words = translated(entry["command"].replace("<w>", str(w)))
    words += ["TRAINER.DPC.VARIANT", variant, "OPTIM.WARMUP_EPOCH", "-1"]
    trainer = train.build_trainer(train.setup_cfg(train.parse_arguments(words)))
    loss = plugin.contrastive_loss
    monkeypatch.setattr(plugin, "contrastive_loss", lambda logits, _: loss(logits, "mean"))
    images, labels = torch.from_numpy(record["images_f32"]), torch.from_numpy(record["labels"])
    batch = {"img": images, "label": labels, "query_features": None}
    trainer.set_model_mode("train")
    trainer.num_batches = 10
    [leaf] = trainer.model.prompt_learner.tuned_tensors().values()
    np.testing.assert_allclose(leaf.detach(), record[f"{prefix}/init/ctx"], rtol=0, atol=1e-7)
    scale = np.abs(record[f"{prefix}/step3/ctx"] - record[f"{prefix}/init/ctx"]).max()
    for step in range(3):
        summary = trainer.forward_backward(batch)
        assert float(summary["loss"]) == pytest.approx(record[f"{prefix}/loss"][step], abs=1e-4)
        if step == 0:
            gradient = record[f"{prefix}/grad/ctx"]
            np.testing.assert_allclose(leaf.grad, gradient, rtol=0, atol=1e-3 * np.abs(gradient).max())
        if step in (0, 2):
            np.testing.assert_allclose(
                leaf.detach(), record[f"{prefix}/step{step + 1}/ctx"], rtol=0, atol=1e-3 * scale
            )


@pytest.mark.usefixtures("pillow_of_the_records")
@pytest.mark.parametrize("backbone", ["coop", "kd"])
def test_dpc_on_a_fixed_batch_of_two_images_takes_every_other_class(
    golden: Path,
    recorded: Callable[[str, str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backbone: str,
) -> None:
    name = f"dpc/traj_{backbone}_fixed2"
    entry, record = load(golden, name)
    words = recorded(name, entry["command"])
    trainer = train.build_trainer(train.setup_cfg(train.parse_arguments(words)))
    by_name = {Path(item.impath).name: item for item in trainer.dm.dataset.train_full}
    pictures = [by_name[Path(path).name] for path in record["batch_impaths"][0]]
    batch = {
        "img": torch.stack([trainer.dm.load_item(item) for item in pictures]),
        "label": torch.tensor([item.label for item in pictures]),
    }
    trainer.train_loader_x = [batch]
    # The record's library of negatives holds each class's first training image.
    first = {item.label: item for item in reversed(trainer.dm.dataset.train_full)}
    monkeypatch.setattr(type(trainer.dm.dataset), "train_full", list(first.values()))
    trainer.train()
    assert_final(tmp_path, name, entry, record)
