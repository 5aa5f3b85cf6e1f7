"""Hand-written prompts: each data set's own, and the one that takes its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import datasets
from clip import CLIP, tokenize
from dassl.config.rules import template as template_rule
from dassl.data.datasets import DATASET_REGISTRY

Build = Callable[..., Any]
PLAIN = "a photo of a {}."
OWN = {  # as CoOp's authors wrote them
    "Caltech101": PLAIN,
    "DescribableTextures": "{} texture.",
    "Digits": PLAIN,
    "EuroSAT": "a centered satellite photo of {}.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "Folder": PLAIN,
    "Food101": "a photo of {}, a type of food.",
    "ImageNet": PLAIN,
    "ImageNetA": PLAIN,
    "ImageNetR": PLAIN,
    "ImageNetSketch": PLAIN,
    "ImageNetV2": PLAIN,
    "Letters": PLAIN,
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "OxfordPets": "a photo of a {}, a type of pet.",
    "SUN397": PLAIN,
    "StanfordCars": PLAIN,
    "UCF101": "a photo of a person doing {}.",
}


def test_each_data_set_has_its_own() -> None:
    names = {n for n in DATASET_REGISTRY.registered_names() if n in datasets.__all__}
    assert {name: DATASET_REGISTRY.get(name).template for name in names} == OWN


def test_only_one_is_the_source_of_the_cross_dataset_protocols() -> None:
    assert {name for name in OWN if DATASET_REGISTRY.get(name).is_source} == {"ImageNet"}


@pytest.mark.parametrize("template", ["a photo", "{} and {}", ""])
def test_a_template_has_one_place_for_the_name(template: str) -> None:
    rule = template_rule()
    assert rule.problem("DATASET.TEMPLATE", PLAIN) == ""
    problem = rule.problem("DATASET.TEMPLATE", template)
    assert problem.startswith(f"DATASET.TEMPLATE is {template!r}; it must be text that holds {{}} once")


@pytest.mark.parametrize("method", ["ZeroshotCLIP", "ZeroshotCLIP2", "KgCoOp", "CoOp"])
def test_a_template_without_a_place_is_refused(build: Build, method: str) -> None:
    with pytest.raises(ValueError, match=r"DATASET\.TEMPLATE is 'a photo'"):
        build(method, "DATASET.TEMPLATE", "a photo", "TRAINER.COOP.PREC", "fp32")


def expected(tiny_clip: CLIP, template: str, names: list[str]) -> torch.Tensor:
    tokens = tokenize([template.replace("{}", name) for name in names])
    return F.normalize(tiny_clip.encode_text(tokens), dim=-1)


NAMES = ["Annual Crop Land", "Forest", "Highway or Road"]


def test_zero_shot_reads_it(build: Build, tiny_clip: CLIP, caplog: pytest.LogCaptureFixture) -> None:
    own = build("ZeroshotCLIP").text_features
    torch.testing.assert_close(own, expected(tiny_clip, OWN["EuroSAT"], NAMES))
    other = build("ZeroshotCLIP", "DATASET.TEMPLATE", "{} texture.").text_features
    torch.testing.assert_close(other, expected(tiny_clip, "{} texture.", NAMES))
    assert not torch.allclose(own, other, atol=1e-3)
    assert "DATASET.TEMPLATE has no effect" not in caplog.text


@pytest.mark.parametrize("method", ["KgCoOp", "CoOp"])
def test_kgcoop_stays_close_to_it_and_coop_says_that_it_does_not(
    build: Build, tiny_clip: CLIP, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    def losses(*options: str) -> dict[str, torch.Tensor]:
        words = ("TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.N_CTX", "4", *options)
        trainer = build(method, *words)
        trainer.prepare()
        trainer.before_epoch()
        trainer.set_model_mode("train")
        batch = next(iter(trainer.train_loader_x))
        found = trainer.compute_loss(batch).losses
        if method == "KgCoOp":
            fixed = expected(tiny_clip, trainer.cfg.DATASET.TEMPLATE or OWN["EuroSAT"], NAMES)
            distance = 1 - F.cosine_similarity(trainer.model.text_features(), fixed).mean()
            torch.testing.assert_close(found["loss_kg"], 8 * distance, atol=1e-5, rtol=1e-5)
        return found

    own, other = losses(), losses("DATASET.TEMPLATE", "{} texture.")
    assert torch.equal(own["loss_ce"], other["loss_ce"])
    if method == "KgCoOp":
        assert own["loss_kg"] > 0 and not torch.isclose(own["loss_kg"], other["loss_kg"], atol=1e-4)
    warned = "DATASET.TEMPLATE has no effect on CoOp" in caplog.text
    assert warned == (method == "CoOp")


def test_the_ensemble_takes_a_template_of_one_s_own_on_the_source_too(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets.eurosat import EuroSAT

    monkeypatch.setattr(EuroSAT, "is_source", True)
    assert len(build("ZeroshotCLIP2").templates()) == 7
    assert build("ZeroshotCLIP2", "DATASET.TEMPLATE", "one {}").templates()[-1] == "one {}"
