"""What rotary positions must hold, without recorded numbers."""

from __future__ import annotations

import torch

from clip.eva02 import REFERENCE_GRID, RotaryEmbedding


def test_the_class_token_and_prompts_behind_the_patches_are_not_rotated() -> None:
    rotary, x = RotaryEmbedding(3, 8), torch.randn(2, 1, 1 + 9 + 4, 8)
    turned = rotary(x)
    kept = [0, *range(10, 14)]
    assert torch.equal(turned[:, :, kept], x[:, :, kept])
    assert not torch.isclose(turned[:, :, 2:10], x[:, :, 2:10]).all(dim=-1).any()
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_one_token_alone_is_rotated_as_among_all() -> None:
    rotary, x = RotaryEmbedding(3, 8), torch.randn(2, 1, 12, 8)
    read = torch.tensor([5, 0])
    alone = rotary(x[torch.arange(2), :, read][:, :, None], read)
    torch.testing.assert_close(alone[:, :, 0], rotary(x)[torch.arange(2), :, read])


def test_products_depend_on_the_distance_alone() -> None:
    """Of rows and columns apart: a step to the right is another one than a step down."""
    rotary, q, k = RotaryEmbedding(4, 8), torch.randn(8), torch.randn(8)
    turned_q, turned_k = (rotary(v.expand(1, 1, 17, 8))[0, 0, 1:].view(4, 4, 8) for v in (q, k))

    def product(start: tuple[int, int], end: tuple[int, int]) -> float:
        return float(turned_q[start] @ turned_k[end])

    assert abs(product((0, 0), (1, 2)) - product((2, 1), (3, 3))) < 1e-5
    assert abs(product((0, 0), (1, 2)) - product((0, 0), (2, 1))) > 1e-3


def test_angles_are_those_of_the_reference_grid_whatever_the_model_s() -> None:
    small, large = RotaryEmbedding(4, 8), RotaryEmbedding(REFERENCE_GRID, 8)
    step = REFERENCE_GRID // 4
    rows = large.cos[1:-1].view(REFERENCE_GRID, REFERENCE_GRID, 8)[::step, ::step]
    torch.testing.assert_close(small.cos[1:-1].view(4, 4, 8), rows)
