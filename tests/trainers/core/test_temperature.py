"""Temperature scaling: the best one is found, stored beside the prompts, and changes no result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import predict
from trainers.core.temperature import calibrated, fit_temperature

Build = Callable[..., Any]
SCALED = ("TEST.TEMPERATURE_SCALING", "True")


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(true: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial((logits / true).softmax(dim=1), 1, generator=generator).squeeze(1)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.05)
    best = F.cross_entropy(logits.double() / found, labels)
    for other in (0.98 * found, 1.02 * found):
        assert best < F.cross_entropy(logits.double() / other, labels)


def test_ends_of_the_range() -> None:
    right, labels = torch.eye(3), torch.arange(3)
    assert fit_temperature(right, labels) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(right, labels.roll(1)) == pytest.approx(20, rel=1e-3)
    with pytest.raises(ValueError, match="needs images"):
        fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.long))


def test_probabilities() -> None:
    logits = torch.tensor([[1.0, 3.0]])
    assert torch.equal(calibrated(logits, None), logits.softmax(dim=1))
    assert torch.equal(calibrated(logits, 2.0), (logits / 2).softmax(dim=1))


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("final", ["last_step", "best_val"])
def test_a_run_keeps_it_beside_its_prompts(final: str, build: Build, tmp_path: Path) -> None:
    options = ("TRAINER.COOP.PREC", "fp32", "TEST.FINAL_MODEL", final)
    plain, scaled = tmp_path / "plain", tmp_path / "scaled"
    build("CoOp", *options, output=plain).train()
    trainer = build("CoOp", *options, *SCALED, output=scaled)
    trainer.train()
    assert record(plain)["metrics"] == record(scaled)["metrics"]  # results stay as they are
    assert "temperature" not in record(plain) and predict.load_run(plain, [], None, []).temperature is None
    assert record(scaled)["temperature"] == trainer.temperature

    images = [item.impath for item in trainer.dm.dataset.val_full]
    labels = torch.tensor([item.label for item in trainer.dm.dataset.val_full])
    loaded = predict.load_run(scaled, [], None, [])
    assert loaded.temperature == trainer.temperature
    loaded.temperature = None
    logits = torch.stack([p for _, p in predict.predict(loaded, images)]).log()
    assert fit_temperature(logits, labels) == pytest.approx(trainer.temperature, rel=1e-3)


def test_zero_shot_clip_has_one_too(build: Build, tmp_path: Path) -> None:
    trainer = build("ZeroshotCLIP", *SCALED, output=tmp_path)
    trainer.test()
    assert record(tmp_path)["temperature"] == trainer.temperature is not None
    loaded = predict.load_run(tmp_path, [], None, [])
    assert loaded.temperature == trainer.temperature
    assert loaded.dm.dataset.classnames == trainer.dm.dataset.classnames


def test_test_images_do_not_calibrate(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build("CoOp", *SCALED, "TRAINER.COOP.PREC", "fp32")
    dataset = trainer.dm.dataset
    monkeypatch.setattr(type(dataset), "val_full", property(lambda self: [*self.val, self.test[0]]))
    with pytest.raises(ValueError, match=r"TEST\.TEMPERATURE_SCALING is True, .* set it to False"):
        trainer.train()
