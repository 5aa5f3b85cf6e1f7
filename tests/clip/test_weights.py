from __future__ import annotations

import hashlib
import json
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import clip
from clip import CLIP, Architecture, openai_state_dict, tokenize, weights
from dassl.config import get_cfg_default
from dassl.data.transforms import build_transform
from tests.conftest import TINY


def assert_same_model(model: CLIP, other: CLIP) -> None:
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_plain_state_dict(tiny_clip: CLIP, tiny_clip_file: Path) -> None:
    assert_same_model(clip.load(tiny_clip_file), tiny_clip)


def test_safetensors(tiny_clip: CLIP, tmp_path: Path) -> None:
    save_file(openai_state_dict(tiny_clip), tmp_path / "model.safetensors")
    assert_same_model(clip.load(tmp_path / "model.safetensors"), tiny_clip)


class Archive(torch.nn.Module):
    """Carries a state dict into a TorchScript archive, as OpenAI publishes it."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for key, value in state.items():
            owner: torch.nn.Module = self
            *path, leaf = key.split(".")
            for part in path:
                if not hasattr(owner, part):
                    owner.add_module(part, torch.nn.Module())
                owner = getattr(owner, part)
            owner.register_buffer(leaf, value)


def test_torchscript_archive_in_half_precision(tiny_clip: CLIP, tmp_path: Path) -> None:
    state = {key: value.half() for key, value in tiny_clip.state_dict().items()}
    state["input_resolution"] = torch.tensor(32)
    torch.jit.script(Archive(state)).save(str(tmp_path / "jit.pt"))
    model = clip.load(tmp_path / "jit.pt")
    assert model.arch == TINY
    assert torch.equal(model.text_projection, tiny_clip.text_projection.half().float())


def test_architecture_is_inferred_for_resnets() -> None:
    arch = Architecture(32, 64, (1, 2, 1, 1), 64, None, 77, 100, 64, 1)
    assert clip.build_model(CLIP.create(arch).state_dict(), "quick_gelu").arch == arch


def test_the_token_embedding_alone(tiny_clip: CLIP, tiny_clip_file: Path, tmp_path: Path) -> None:
    words = tiny_clip.token_embedding.weight
    assert torch.equal(clip.load_token_embedding(tiny_clip_file), words)
    for prefix in ("", "module.", "text."):  # nothing tells the activation, which is not needed
        state = {f"{prefix}token_embedding.weight": words.half(), f"{prefix}proj": words[:2]}
        torch.save(state, tmp_path / "other.pt")
        found = clip.load_token_embedding(tmp_path / "other.pt")
        assert found.dtype == torch.float32 and torch.equal(found, words.half().float()), prefix
    for state in ({"proj": words}, {"token_embedding.weight": words[1:]}):
        torch.save(state, tmp_path / "foreign.pt")
        with pytest.raises(ValueError, match=r"foreign\.pt holds no token embedding of the 49,408 tokens"):
            clip.load_token_embedding(tmp_path / "foreign.pt")
    with pytest.raises(FileNotFoundError, match="ViT-B/16"):
        clip.load_token_embedding(tmp_path / "nowhere.pt")


def test_truncated_file_is_named(tiny_clip_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(tiny_clip_file.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"broken\.pt.*truncated"):
        clip.load(broken)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path(tmp_path / "executed").touch, ())

    torch.save({"a": Payload()}, tmp_path / "evil.pt", pickle_module=pickle)
    with pytest.raises(ValueError, match=r"evil\.pt"):
        clip.load(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ln_final.weight", None, "ln_final.weight"),
        ("visual.ln_post.bias", None, r"visual\.ln_post\.bias: missing"),
        ("visual.ln_post.bias", torch.zeros(3), r"visual\.ln_post\.bias: shape \(3,\), expected \(64,\)"),
        ("surplus", torch.zeros(3), "surplus: unknown"),
    ],
)
def test_wrong_tensors_are_named(tiny_clip: CLIP, key: str, value: torch.Tensor | None, message: str) -> None:
    state = dict(tiny_clip.state_dict())
    state.pop(key, None)
    if value is not None:
        state[key] = value
    with pytest.raises(ValueError, match=message):
        clip.build_model(state, "quick_gelu")


def test_unknown_name_lists_the_known_ones() -> None:
    for name in ("ViT-Z/99", "", "."):
        with pytest.raises(FileNotFoundError, match="ViT-B/16"):
            clip.load(name)


def test_offline_error_says_what_to_fetch_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(weights.urllib.request, "urlopen", offline)
    with pytest.raises(FileNotFoundError) as caught:
        weights.find_weights("ViT-B/16", tmp_path / "cache")
    message = str(caught.value)
    assert "https://" in message and str(tmp_path / "cache" / "ViT-B-16.pt") in message
    assert not (tmp_path / "cache").exists()


def test_missing_weights_are_described_without_an_attempt_to_fetch_them(
    tmp_path: Path, tiny_clip_file: Path
) -> None:
    message = weights.missing_weights("ViT-B/16", tmp_path)
    assert str(tmp_path / "ViT-B-16.pt") in message and "https://" in message
    (tmp_path / "ViT-B-16.pt").touch()
    assert weights.missing_weights("ViT-B/16", tmp_path) == ""
    assert weights.missing_weights(tiny_clip_file) == ""
    assert "nowhere.pt" in weights.missing_weights(tmp_path / "nowhere.pt")


def test_download_checks_the_sum_and_leaves_nothing_half_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    with pytest.raises(FileNotFoundError, match="SHA-256"):
        weights._download(source.as_uri(), tmp_path / "cache" / "w.pt", "0" * 64)
    assert not list((tmp_path / "cache").iterdir())
    weights._download(source.as_uri(), tmp_path / "cache" / "w.pt", hashlib.sha256(b"weights").hexdigest())
    assert (tmp_path / "cache" / "w.pt").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["b16", "l14"])
def test_golden_features(golden: Path, golden_clip: dict[str, Path], name: str) -> None:
    cfg = get_cfg_default()
    cfg.INPUT.SIZE = (32, 32)
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073]
    cfg.INPUT.PIXEL_STD = [0.26862954, 0.26130258, 0.27577711]
    cfg.INPUT.TRANSFORMS = ("normalize",)
    transform = build_transform(cfg, is_train=False)
    record = np.load(golden / "rec/clip_features.npz")
    texts = json.loads((golden / "rec/clip_texts.json").read_text())
    images = torch.stack(
        [transform(Image.open(golden / "data/eurosat/2750" / p).convert("RGB")) for p in record["impaths"]]
    )
    model = clip.load(golden_clip[name])
    with torch.no_grad():
        tokens = tokenize(texts)
        np.testing.assert_allclose(model.encode_text(tokens), record[f"{name}_text_features"], 1e-4, 2e-5)
        np.testing.assert_allclose(model.encode_image(images), record[f"{name}_image_features"], 1e-4, 2e-5)
        np.testing.assert_allclose(model(images, tokens), record[f"{name}_logits_per_image"], 0, 2e-4)
