"""Features of every family, as open_clip's own code computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clip
from tests.golden.families_recipe import FAMILIES, family_inputs, family_state

DECLARED = {
    "vit_gelu": {"activation": "gelu"},
    "vit_quickgelu": {"activation": "quick_gelu"},
    "vit_head80": {"activation": "gelu", "head_width": 80},
    "metaclip_dfn": {"activation": "quick_gelu", "head_width": 80},
    "eva02": {},
}


@torch.no_grad()
@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("exact", [False, True], ids=["float32", "float64"])
def test_features(name: str, exact: bool) -> None:
    record = np.load(FAMILIES / f"{name}.npz")
    model = clip.build_model(family_state(name), **DECLARED[name])
    images, tokens, vectors = family_inputs(name)
    if exact:
        model, images, vectors = model.double(), images.double(), vectors.double()
    embeddings = model.token_embedding(tokens)
    injected = torch.cat([embeddings[:, :1], vectors.expand(len(tokens), -1, -1), embeddings[:, 5:]], dim=1)
    found = {
        "image_features": model.encode_image(images),
        "text_features": model.encode_text(tokens),
        "text_features_injected": model.encode_embeddings(injected, tokens.argmax(dim=-1)),
    }
    for key, value in found.items():
        expected = record[f"{key}_float64"]
        atol = 5e-5 if not exact else 2e-6 if (name, key) == ("eva02", "image_features") else 1e-9
        np.testing.assert_allclose(value, expected, rtol=0, atol=atol, err_msg=key)
    if not exact:
        np.testing.assert_allclose(model(images, tokens), record["logits"], rtol=0, atol=3e-4)


@pytest.mark.parametrize(("name", "wrong"), [("vit_gelu", "quick_gelu"), ("vit_quickgelu", "gelu")])
def test_the_other_activation_is_far_away(name: str, wrong: str) -> None:
    model = clip.build_model(family_state(name), activation=wrong)
    with torch.no_grad():
        features = model.encode_image(family_inputs(name)[0]).numpy()
    assert np.abs(features - np.load(FAMILIES / f"{name}.npz")["image_features_float64"]).max() > 5e-3
