"""What tensors don't tell is known, declared or refused; never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import clip
from clip import CLIP, Architecture, openai_state_dict
from tests.conftest import ROOT, TINY
from tests.golden.families_recipe import family_state

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def gelu() -> State:
    """A file of LAION's: OpenAI's keys, no mark of OpenAI's."""
    return family_state("vit_gelu")


def test_an_unknown_activation_is_refused_with_the_remedy(gelu: State, tmp_path: Path) -> None:
    path = tmp_path / "laion.safetensors"
    save_file(gelu, path)
    with pytest.raises(ValueError, match=r"laion\.safetensors.*activation") as caught:
        clip.load(path)
    for remedy in ('activation="gelu"', "MODEL.BACKBONE.ACTIVATION", "MODEL.BACKBONE.HEAD_WIDTH", "LAION"):
        assert remedy in str(caught.value)
    with pytest.raises(ValueError, match="activation"):
        clip.load(path, head_width=64)
    assert clip.load(path, activation="gelu").arch.activation == "gelu"


def test_a_head_width_that_several_models_could_have_is_refused() -> None:
    state = family_state("vit_head80")  # 320 channels: five heads of 64 or four of 80
    with pytest.raises(ValueError, match="attention heads"):
        clip.build_model(state, activation="gelu")
    model = clip.build_model(state, activation="gelu", head_width=80)
    assert [block.attn.heads for block in model.visual.transformer.blocks()] == [4, 4]
    assert [block.attn.heads for block in model.transformer.blocks()] == [2, 2]
    with pytest.raises(ValueError, match="head_width is 96, which does not divide"):
        clip.build_model(state, activation="gelu", head_width=96)


def test_a_width_that_one_head_width_divides_needs_no_declaration(gelu: State) -> None:
    assert clip.build_model(gelu, activation="gelu").arch.vision_head_width == 64


@pytest.mark.parametrize("said", [{"activation": "gelu"}, {"head_width": 32}])
def test_a_declaration_against_what_is_known_is_an_error(
    said: dict[str, object], tiny_clip_file: Path
) -> None:
    with pytest.raises(ValueError, match=r"is declared as .* but that of OpenAI's models is"):
        clip.load(tiny_clip_file, **said)
    with pytest.raises(ValueError, match="EVA02"):
        clip.build_model(family_state("eva02"), **{**said, "activation": "quick_gelu"})


def test_an_unknown_word_lists_the_choices(gelu: State) -> None:
    with pytest.raises(ValueError, match="activation is 'relu', must be one of: quick_gelu, gelu"):
        clip.build_model(gelu, activation="relu")


def test_the_demo_s_file_is_known_by_its_hash(tmp_path: Path) -> None:
    file = ROOT / "demo/tiny_clip.pt"
    assert clip.load(file).arch.activation == "quick_gelu"
    state = clip.read_state_dict(file)
    torch.save({**state, "logit_scale": state["logit_scale"] + 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="activation"):
        clip.load(tmp_path / "other.pt")


def test_openai_s_scalars_are_a_mark(tiny_clip: CLIP) -> None:
    assert clip.build_model(openai_state_dict(tiny_clip)).arch == TINY
    with pytest.raises(ValueError, match="activation"):
        clip.build_model(tiny_clip.state_dict())


def test_names_of_a_wrapped_model_and_buffers_of_open_clip_are_taken(gelu: State, tmp_path: Path) -> None:
    wrapped = {f"module.{key}": value for key, value in gelu.items()} | {
        "module.attn_mask": torch.zeros(77, 77)
    }
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "checkpoint.pt")
    model = clip.load(tmp_path / "checkpoint.pt", activation="gelu")
    assert torch.equal(model.visual.proj, gelu["visual.proj"])


def test_a_siglip_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="SigLIP"):
        clip.build_model({"logit_scale": torch.tensor(1.0), "logit_bias": torch.tensor(1.0)})


def test_an_mlp_of_another_width_is_read_from_its_matrix() -> None:
    arch = Architecture(16, 32, 1, 64, 16, 77, 99, 64, 1, activation="gelu", vision_mlp_width=100)
    model = CLIP.create(arch).eval()
    assert clip.build_model(model.state_dict(), "gelu").arch == arch


@pytest.mark.parametrize("family", ["openai", "eva02"])
def test_deep_prompts_need_shallow_ones_of_their_length(family: str) -> None:
    model = CLIP.create(Architecture(16, 32, 3, 64, 16, 77, 99, 64, 1, family=family)).eval()
    images, three, two = torch.randn(2, 3, 32, 32), torch.randn(3, 64), torch.randn(2, 64)
    with pytest.raises(ValueError, match="replace prompts of the input"):
        model.encode_image(images, None, [three])
    with pytest.raises(ValueError, match=r"2.*cannot replace 3"):
        model.encode_image(images, three, [two])
    with pytest.raises(ValueError, match="3 deep prompts for 3 blocks"):
        model.encode_image(images, three, [three] * 3)
    plain, deep = model.encode_image(images, three), model.encode_image(images, three, [three] * 2)
    assert not torch.allclose(plain, deep)


def test_set_precision_reaches_every_matrix_and_no_norm_of_eva02() -> None:
    model = clip.build_model(family_state("eva02"))
    images = torch.randn(2, 3, 32, 32)
    exact = model.encode_image(images)
    clip.set_precision(model, torch.bfloat16)
    for name, tensor in model.visual.named_parameters():
        norm_or_embedding = (tensor.dim() == 1 and ("norm" in name or "ln_" in name)) or "embedding" in name
        assert tensor.dtype == (torch.float32 if norm_or_embedding else torch.bfloat16), name
    coarse = model.encode_image(images).float()
    assert 0 < (coarse - exact).abs().max() < 0.3


def test_an_archive_of_somebody_else_s_is_not_openai_s(gelu: State, tmp_path: Path) -> None:
    from tests.clip.test_weights import Archive

    torch.jit.script(Archive(gelu)).save(str(tmp_path / "traced.pt"))
    with pytest.raises(ValueError, match="activation"):
        clip.load(tmp_path / "traced.pt")
    assert clip.load(tmp_path / "traced.pt", activation="gelu").arch.activation == "gelu"
