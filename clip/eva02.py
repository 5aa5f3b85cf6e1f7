"""EVA02's image tower (Fang et al., 2023): a ViT with rotary positions and gated MLPs.

Beside CLIP's own tower: queries and keys of patch tokens are rotated by angles that follow from the patch's
place in the image, the MLP is gated (SwiGLU), and a norm stands before the last projection of both.

Shape legend: B images, T tokens, G patches a side, P prompt tokens, D width, H heads of d channels, E joint
width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip.arch import Architecture
from clip.vit import (
    LayerNorm,
    ResidualAttentionBlock,
    Transformer,
    append_prompts,
    attend,
    class_and_last,
    embed_patches,
    token_at,
)
from clip.written import Deep

REFERENCE_GRID = 16  # patches a side for which angles are counted in whole patches, in models of any size
_BASE = 10000.0  # the longest wave is so many times the shortest


class RotaryEmbedding(nn.Module):
    """Rotations of pairs of channels by angles that say where in the image a token is.

    Channels 2j and 2j + 1 are one pair. The first half of the pairs turns with the row, the second with the
    column, each at d / 4 speeds. The class token and all tokens behind the patches (prompts) are not rotated.

    Args:
        side: G, patches a side.
        head_width: d.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, side: int, head_width: int) -> None:
        super().__init__()
        self.side = side
        # The table follows from two numbers, so it is in no weights file: it is computed also where a
        # model is built without memory for its weights (device "meta").
        device = torch.device("cpu")
        speeds = _BASE ** -(
            torch.arange(head_width // 4, dtype=torch.float64, device=device) * 4 / head_width
        )
        places = torch.arange(side, dtype=torch.float64, device=device) * REFERENCE_GRID / side
        rows, columns = torch.meshgrid(places, places, indexing="ij")
        angles = torch.cat([place.reshape(-1, 1) * speeds for place in (rows, columns)], dim=1)
        # The first row, of angle zero, is the class token's; the last that of all tokens behind the patches.
        angles = F.pad(angles, (0, 0, 1, 1)).repeat_interleave(2, dim=1)  # [G^2 + 2, d]
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def extra_repr(self) -> str:
        return f"side={self.side}"

    def forward(self, x: Tensor, read: Tensor | None = None) -> Tensor:
        """Rotate ``x`` [B, H, T, d]; with ``read`` [B] or [B, R], only those tokens, [B, H, 1 or R, d]."""
        place = torch.arange(x.shape[2], device=x.device) if read is None else read.reshape(x.shape[0], 1, -1)
        row = place.clamp(max=len(self.cos) - 1)
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = torch.stack([-odd, even], dim=-1).flatten(-2)
        return (x * self.cos[row] + turned * self.sin[row]).to(x.dtype)


class RotaryAttention(nn.Module):
    """Multi-head self-attention with rotated queries and keys and a norm over the joined heads."""

    def __init__(self, width: int, heads: int, rotary: RotaryEmbedding, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary  # one for all blocks
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.norm = LayerNorm(width, eps)
        self.proj = nn.Linear(width, width)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def forward(self, x: Tensor, causal: bool, read: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D]; with ``read`` [B] or [B, R], only the tokens there, [B, 1 or R, D]."""
        asked = x if read is None else token_at(x, read)
        q = self.rotary(self._heads(self.q_proj(asked)), read)
        k = self.rotary(self._heads(self.k_proj(x)))
        mixed = attend(q, k, self._heads(self.v_proj(x)), causal, read)
        return self.proj(self.norm(mixed))

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, d]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class SwiGLU(nn.Module):
    """An MLP whose hidden channels are multiplied by a gate, [B, T, D] -> [B, T, D]."""

    def __init__(self, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, hidden)  # the gate
        self.fc1_x = nn.Linear(width, hidden)
        self.norm = LayerNorm(hidden, eps)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))


class EVA02Transformer(nn.Module):
    """EVA02's image tower; visual prompts are appended behind the patch tokens, where nothing is rotated."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        assert isinstance(arch.vision_layers, int) and arch.vision_patch_size is not None
        width, patch, eps = arch.vision_width, arch.vision_patch_size, arch.vision_norm_eps
        scale, side = width**-0.5, arch.image_resolution // patch
        self.input_resolution = arch.image_resolution
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(side**2 + 1, width))
        rotary = RotaryEmbedding(side, arch.vision_head_width)

        def block() -> ResidualAttentionBlock:
            attn = RotaryAttention(width, width // arch.vision_head_width, rotary, eps)
            return ResidualAttentionBlock(width, attn, SwiGLU(width, arch.vision_hidden_width, eps), eps)

        self.transformer = Transformer(width, (block() for _ in range(arch.vision_layers)), causal=False)
        self.ln_post = LayerNorm(width, eps)
        self.head = nn.Linear(width, arch.embed_dim)

    def forward(self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Deep = ()) -> Tensor:
        """Images [B, 3, H, W] to [B, E]; for prompts see `clip.vit.append_prompts`."""
        return self.project(self.tokens(images, prompts, deep_prompts)[:, 0])

    def tokens(
        self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Deep = (), last: int = 0
    ) -> Tensor:
        """The class token and, behind it, the last ``last`` ones, normalised: [B, 1 + last, D]."""
        x = embed_patches(self.conv1(images), self.class_embedding, self.positional_embedding)
        x, at = append_prompts(x, prompts, deep_prompts)
        return self.ln_post(self.transformer(x, class_and_last(x, last), deep_prompts, at))

    def project(self, tokens: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        return self.head(tokens)
