"""One hash for a CLIP, whatever file it comes from, and another for every other CLIP."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import clip
from clip import CLIP, Architecture, openai_state_dict, weights_hash


def test_containers_and_number_formats_do_not_matter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 49408, "context_length": 77, "embed_dim": 32, "image_resolution": 32}
    tower = {"vision_layers": 1, "vision_width": 64, "transformer_width": 64, "transformer_layers": 1}
    model = CLIP.create(Architecture(**sizes, **tower, vision_patch_size=16))
    half = {key: value.half() for key, value in openai_state_dict(model).items()}
    single = {key: value.float() for key, value in half.items()}
    integers = {"input_resolution", "context_length", "vocab_size"}
    half, single = ({k: v.long() if k in integers else v for k, v in s.items()} for s in (half, single))
    torch.save(half, tmp_path / "half.pt")
    torch.save({"state_dict": dict(reversed(single.items()))}, tmp_path / "single.pt")
    save_file({k: v.contiguous() for k, v in half.items()}, tmp_path / "half.safetensors")
    hashes = {weights_hash(clip.load(path)) for path in sorted(tmp_path.iterdir())}
    assert len(hashes) == 1 and all(len(value) == 64 for value in hashes)


def test_a_hash_is_the_same_on_every_machine(tiny_clip: CLIP) -> None:
    model = copy.deepcopy(tiny_clip)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    assert weights_hash(model) == "7db7d63f5da805116d80d0ba98403714dbe50c809ed320ec1493f7346f9c34aa"


@pytest.mark.parametrize("name", ["logit_scale", "visual.proj", "token_embedding.weight"])
def test_a_last_bit_is_another_clip(tiny_clip: CLIP, name: str) -> None:
    sibling = copy.deepcopy(tiny_clip)
    with torch.no_grad():
        entry = sibling.get_parameter(name).view(-1)[-1:]
        entry.copy_(torch.nextafter(entry, torch.tensor([torch.inf])))
    assert weights_hash(sibling) != weights_hash(tiny_clip)


def test_places_and_what_tensors_cannot_tell_matter(tiny_clip: CLIP) -> None:
    swapped = copy.deepcopy(tiny_clip)
    first, second = swapped.transformer.blocks()
    with torch.no_grad():
        first.ln_1.weight.fill_(2)
        second.ln_1.weight.fill_(3)
    before = weights_hash(swapped)
    with torch.no_grad():
        first.ln_1.weight.fill_(3)
        second.ln_1.weight.fill_(2)
    assert weights_hash(swapped) != before
    other = copy.deepcopy(tiny_clip)
    other.arch = replace(tiny_clip.arch, activation="gelu")
    assert weights_hash(other) != weights_hash(tiny_clip)
