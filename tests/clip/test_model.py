from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clip import CLIP, Architecture, Written, set_precision, tokenize
from tests.conftest import TINY

TEXTS = ["a photo of a dog.", "one", "a rather long text about a bird of paradise on a tree."]


def full_context_features(model: CLIP, tokens: Tensor) -> Tensor:
    """Text features over all 77 positions."""
    return model.encode_embeddings(model.token_embedding(tokens), tokens.argmax(dim=-1))


def test_cutting_the_context_changes_nothing(tiny_clip: CLIP) -> None:
    tokens = tokenize(TEXTS)
    torch.testing.assert_close(
        tiny_clip.encode_text(tokens), full_context_features(tiny_clip, tokens), atol=1e-5, rtol=1e-5
    )


def test_tokens_behind_the_end_do_not_matter_but_those_before_do(tiny_clip: CLIP) -> None:
    tokens = tokenize(TEXTS)
    eot = tokens.argmax(dim=-1)
    noisy = tokens.clone()
    noisy[0, eot[0] + 1 :] = 1234
    embed = tiny_clip.token_embedding
    features = tiny_clip.encode_embeddings(embed(noisy), eot)
    torch.testing.assert_close(features, full_context_features(tiny_clip, tokens), atol=1e-5, rtol=1e-5)
    noisy[0, 1] = 1234
    assert not torch.allclose(tiny_clip.encode_embeddings(embed(noisy), eot)[0], features[0])


def test_attention_equals_torch_multihead_attention(tiny_clip: CLIP) -> None:
    ours = tiny_clip.transformer.resblocks[0].attn
    reference = torch.nn.MultiheadAttention(64, 1, batch_first=True)
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(3, 5, 64)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
    for causal in (True, False):
        expected = reference(x, x, x, attn_mask=mask if causal else None, need_weights=False)[0]
        torch.testing.assert_close(ours(x, causal), expected, atol=1e-5, rtol=1e-5)
        read = torch.tensor([4, 0, 2])
        some = expected[torch.arange(3), read][:, None]
        torch.testing.assert_close(ours(x, causal, read), some, atol=1e-5, rtol=1e-5)


def test_visual_prompts_are_appended_and_deep_ones_replace_them(tiny_clip: CLIP) -> None:
    images = torch.randn(2, 3, 32, 32)
    plain = tiny_clip.encode_image(images)
    shallow, deep = torch.randn(3, 64), torch.randn(3, 64)
    prompted = tiny_clip.encode_image(images, shallow)
    assert not torch.allclose(plain, prompted)
    replaced = tiny_clip.encode_image(images, shallow, [deep])
    assert not torch.allclose(prompted, replaced)

    # By hand: the tokens after block 0, with the last three replaced before block 1.
    visual = tiny_clip.visual
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(2, 1, -1), x], 1) + visual.positional_embedding
    x = visual.ln_pre(torch.cat([x, shallow.expand(2, -1, -1)], 1))
    x = visual.transformer.resblocks[0](x, False)
    x[:, -3:] = deep
    x = visual.transformer.resblocks[1](x, False)
    torch.testing.assert_close(replaced, visual.ln_post(x[:, 0]) @ visual.proj)


def test_deep_text_prompts_replace_the_tokens_behind_the_first(tiny_clip: CLIP) -> None:
    tokens = tokenize(TEXTS)
    eot = tokens.argmax(dim=-1)
    embeddings, deep = tiny_clip.token_embedding(tokens), torch.randn(2, 64)
    x = embeddings + tiny_clip.positional_embedding
    x = tiny_clip.transformer.resblocks[0](x, True)
    x[:, 1:3] = deep
    x = tiny_clip.transformer.resblocks[1](x, True)
    expected = tiny_clip.ln_final(x[torch.arange(3), eot]) @ tiny_clip.text_projection
    torch.testing.assert_close(tiny_clip.encode_embeddings(embeddings, eot, [deep]), expected)


def test_forward_is_scaled_cosine_similarity(tiny_clip: CLIP) -> None:
    images, tokens = torch.randn(4, 3, 32, 32), tokenize(TEXTS)
    logits = tiny_clip(images, tokens)
    cosine = F.cosine_similarity(
        tiny_clip.encode_image(images)[:, None], tiny_clip.encode_text(tokens)[None], dim=-1
    )
    torch.testing.assert_close(logits, cosine * tiny_clip.logit_scale.exp(), atol=1e-5, rtol=1e-5)


def test_bf16_towers_stay_close_and_keep_float32_norms() -> None:
    torch.manual_seed(0)
    model = CLIP.create(TINY).eval().requires_grad_(False)
    images = torch.randn(2, 3, 32, 32)
    exact = F.normalize(model.encode_image(images), dim=-1)
    set_precision(model, torch.bfloat16)
    assert model.ln_final.weight.dtype == torch.float32
    coarse = F.normalize(model.encode_image(images).float(), dim=-1)
    assert not torch.equal(exact, coarse)
    torch.testing.assert_close(exact, coarse, atol=0.02, rtol=0)


def test_resnet_tower_has_the_published_keys_and_shapes() -> None:
    arch = Architecture(32, 64, (1, 2, 1, 1), 64, None, 77, 100, 64, 1)
    model = CLIP.create(arch).eval()
    state = model.state_dict()
    for key in (
        "visual.conv3.weight", "visual.layer1.0.downsample.0.weight", "visual.layer2.1.bn3.running_var",
        "visual.attnpool.q_proj.bias", "visual.attnpool.positional_embedding",
    ):  # fmt: skip
        assert key in state
    assert model.encode_image(torch.randn(2, 3, 64, 64)).shape == (2, 32)


def test_tokens_may_be_written_before_any_block_in_part_or_between_others(tiny_clip: CLIP) -> None:
    tokens = tokenize(["a forest", "a river or lake"])
    eot, new, later = tokens.argmax(dim=1), torch.randn(2, 64), torch.randn(2, 2, 64)
    embeddings = tiny_clip.token_embedding(tokens[:, :10])
    edits = {0: Written(new, inserted=True), 1: Written(later, share=0.25)}

    x = embeddings + tiny_clip.positional_embedding[:10]
    x = torch.cat([x[:, :1], new.expand(2, -1, -1), x[:, 1:]], dim=1)  # now of 12 tokens
    first, second = tiny_clip.transformer.resblocks
    x = first(x, True)
    x[:, 1:3] = 0.25 * later + 0.75 * x[:, 1:3]
    x = tiny_clip.ln_final(second(x, True))[torch.arange(2), eot + 2] @ tiny_clip.text_projection
    torch.testing.assert_close(tiny_clip.encode_embeddings(embeddings, eot, edits), x, atol=1e-5, rtol=1e-5)


def test_tokens_written_behind_the_patches_are_read_with_the_class_token(tiny_clip: CLIP) -> None:
    images, new, tower = torch.randn(2, 3, 32, 32), torch.randn(3, 64), tiny_clip.visual
    read = tiny_clip.image_tokens(images, {1: Written(new, inserted=True)}, last=3)
    assert read.shape == (2, 4, 64)

    x = tower.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(2, 1, -1), x], dim=1) + tower.positional_embedding
    x = tower.transformer.resblocks[0](tower.ln_pre(x), False)
    # as good as right behind the class token: nothing here depends on the order
    x = torch.cat([x[:, :1], new.expand(2, -1, -1), x[:, 1:]], dim=1)
    x = tower.ln_post(tower.transformer.resblocks[1](x, False))
    torch.testing.assert_close(read, x[:, :4], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        tiny_clip.encode_image(images, None, {1: Written(new, inserted=True)}), x[:, 0] @ tower.proj
    )


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({2: Written(torch.zeros(1, 64))}, r"deep prompts for blocks \[2\], counted from 0, but there are 2"),
        ({1: Written(torch.zeros(10, 64))}, "a deep prompt of 10 tokens does not fit behind token 1 of 10"),
    ],
)
def test_what_cannot_be_written_is_refused(tiny_clip: CLIP, edits: Any, message: str) -> None:
    tokens = tokenize("a forest")[:, :10]
    with pytest.raises(ValueError, match=message):
        tiny_clip.encode_embeddings(tiny_clip.token_embedding(tokens), tokens.argmax(dim=1), edits)
