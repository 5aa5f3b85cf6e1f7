"""Transformers with prompts as arguments, and CLIP's ViT image tower (Radford et al., 2021).

Parameters carry the names of OpenAI's state dicts, so weight files load without renaming.

Shape legend: N rows of a batch (B images or C texts), T tokens, P prompt tokens, D width of a tower,
H attention heads of d channels each, R tokens that are read, E width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip.arch import Architecture
from clip.written import Deep, Written


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in the precision of its own weights: float32 also in a half-precision tower."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class QuickGELU(nn.Module):
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def make_activation(name: str) -> nn.Module:
    """The module of ``Architecture.activation``; "gelu" is the exact one, by the error function."""
    return {"quick_gelu": QuickGELU, "gelu": nn.GELU}[name]()


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of ``nn.MultiheadAttention``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def forward(self, x: Tensor, causal: bool, read: Tensor | None = None) -> Tensor:
        """[N, T, D] -> [N, T, D]; with ``read`` [N] or [N, R], only the tokens there, [N, 1 or R, D]."""
        if read is None:
            q, k, v = self._projections(x, 0, 3)
        else:
            [q], (k, v) = self._projections(token_at(x, read), 0, 1), self._projections(x, 1, 3)
        return self.out_proj(attend(q, k, v, causal, read))

    def _projections(self, x: Tensor, start: int, end: int) -> Tensor:
        """Of queries (0), keys (1) and values (2) those from ``start`` to ``end``, each [N, H, T, d]."""
        rows = slice(start * x.shape[2], end * x.shape[2])
        projected = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return projected.unflatten(2, (end - start, self.heads, -1)).permute(2, 0, 3, 1, 4)


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool, read: Tensor | None) -> Tensor:
    """Scaled dot-product attention with the heads joined again.

    Args:
        q: [N, H, T, d]; with ``read`` [N] or [N, R], the queries of the tokens there alone, [N, H, R, d].
        k, v: [N, H, T, d].
        causal: a token sees those up to itself.

    Returns:
        [N, T, D], or [N, R, D] with ``read``.
    """
    if read is None:
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    else:
        places = read.reshape(k.shape[0], 1, -1, 1)
        mask = torch.arange(k.shape[2], device=k.device) <= places if causal else None  # [N, 1, R, T]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


class MLP(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.gelu = make_activation(activation)
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class ResidualAttentionBlock(nn.Module):
    """A pre-norm block.

    Args:
        width: D.
        attn: called as `Attention` is.
        mlp: [N, T, D] -> [N, T, D].
        eps: of the two norms.
    """

    def __init__(self, width: int, attn: nn.Module, mlp: nn.Module, eps: float = 1e-5) -> None:
        super().__init__()
        self.attn = attn
        self.ln_1 = LayerNorm(width, eps)
        self.mlp = mlp
        self.ln_2 = LayerNorm(width, eps)

    def forward(self, x: Tensor, causal: bool, read: Tensor | None = None) -> Tensor:
        """[N, T, D] -> [N, T, D]; with ``read`` [N] or [N, R], only the tokens there, [N, 1 or R, D]."""
        kept = x if read is None else token_at(x, read)
        x = kept + self.attn(self.ln_1(x), causal, read)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of pre-norm blocks, [N, T, D] -> [N, D], into which deep prompts can be written.

    Of its output only the token at position ``read`` ([N]) is used, so the last block computes no other; with
    [N, R], R tokens are: [N, R, D]. Negative positions are counted from the end.

    ``deep_prompts[i]`` ([P, D] or [N, P, D]) replaces the P tokens from position ``at`` on before
    block i + 1; ``at`` may be negative, counted from the end. Blocks without an entry run unchanged. A
    mapping says by block, from 0, what is `Written` there.

    Raises:
        ValueError: more deep prompts than blocks to take them, or one that reaches beyond the last token.
    """

    def __init__(self, width: int, blocks: Iterable[ResidualAttentionBlock], causal: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(blocks)
        self.width, self.layers, self.causal = width, len(self.resblocks), causal

    def blocks(self) -> Iterator[ResidualAttentionBlock]:
        for block in self.resblocks:
            assert isinstance(block, ResidualAttentionBlock)
            yield block

    def forward(self, x: Tensor, read: Tensor, deep_prompts: Deep = (), at: int = 0) -> Tensor:
        by_block = self._by_block(deep_prompts)
        for i, block in enumerate(self.blocks()):
            if i in by_block:
                x, read = by_block[i].into(x, read, at)
            x = block(x, self.causal, read % x.shape[1] if i == self.layers - 1 else None)
        return x if read.dim() == 2 else x[:, 0]

    def _by_block(self, deep_prompts: Deep) -> Mapping[int, Written]:
        if isinstance(deep_prompts, Mapping):
            if deep_prompts and not 0 <= min(deep_prompts) <= max(deep_prompts) < self.layers:
                raise ValueError(
                    f"deep prompts for blocks {sorted(deep_prompts)}, counted from 0, but there are "
                    f"{self.layers} blocks"
                )
            return deep_prompts
        if deep_prompts and len(deep_prompts) >= self.layers:
            raise ValueError(
                f"{len(deep_prompts)} deep prompts for {self.layers} blocks: the first block takes none, "
                f"so there is room for {self.layers - 1}"
            )
        return {i: Written(prompt) for i, prompt in enumerate(deep_prompts, 1)}


def make_transformer(
    width: int, layers: int, head_width: int, hidden: int, activation: str, causal: bool, eps: float = 1e-5
) -> Transformer:
    """CLIP's own stack: fused projections, an MLP of ``hidden`` channels."""

    def block() -> ResidualAttentionBlock:
        # The random numbers of a new model are drawn in this order.
        attn = Attention(width, width // head_width)
        return ResidualAttentionBlock(width, attn, MLP(width, hidden, activation), eps)

    return Transformer(width, (block() for _ in range(layers)), causal)


def token_at(x: Tensor, position: Tensor) -> Tensor:
    """The tokens of each row of ``x`` ([N, T, D]) at its positions ([N] or [N, R]): [N, 1 or R, D]."""
    return x[torch.arange(x.shape[0], device=x.device)[:, None], position.reshape(x.shape[0], -1)]


def append_prompts(x: Tensor, prompts: Tensor | None, deep_prompts: Deep) -> tuple[Tensor, int]:
    """Visual prompts behind the tokens of ``x`` [B, T, D], and where deep ones replace them.

    Args:
        prompts: [P, D] or [B, P, D]; None for none.
        deep_prompts: each of the same length P; by block, they may themselves be inserted behind the tokens.

    Returns:
        [B, T + P, D], and the position of the first prompt, counted from the end (0 without prompts).

    Raises:
        ValueError: deep prompts without ``prompts`` to replace, or of another length.
    """
    if isinstance(deep_prompts, Mapping):
        assert prompts is None
        return x, -next((written.tokens.shape[-2] for written in deep_prompts.values()), 0)
    if prompts is None:
        if deep_prompts:
            raise ValueError("deep visual prompts replace prompts of the input: give these too")
        return x, 0
    length = prompts.shape[-2]
    if any(deep.shape[-2] != length for deep in deep_prompts):
        lengths = [deep.shape[-2] for deep in deep_prompts]
        raise ValueError(f"deep visual prompts of {lengths} tokens cannot replace {length} prompt tokens")
    return torch.cat([x, prompts.to(x.dtype).expand(x.shape[0], -1, -1)], dim=1), -length


class VisionTransformer(nn.Module):
    """ViT image tower; visual prompts are appended behind the patch tokens."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        assert isinstance(arch.vision_layers, int) and arch.vision_patch_size is not None
        width, patch = arch.vision_width, arch.vision_patch_size
        scale = width**-0.5
        self.input_resolution = arch.image_resolution
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        tokens = (arch.image_resolution // patch) ** 2 + 1
        self.positional_embedding = nn.Parameter(scale * torch.randn(tokens, width))
        self.ln_pre = LayerNorm(width, arch.vision_norm_eps)
        self.transformer = make_transformer(
            width, arch.vision_layers, arch.vision_head_width, arch.vision_hidden_width, arch.activation,
            causal=False, eps=arch.vision_norm_eps,
        )  # fmt: skip
        self.ln_post = LayerNorm(width, arch.vision_norm_eps)
        self.proj = nn.Parameter(scale * torch.randn(width, arch.embed_dim))

    def forward(self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Deep = ()) -> Tensor:
        """Images [B, 3, H, W] to [B, E]; for prompts see `append_prompts`."""
        return self.project(self.tokens(images, prompts, deep_prompts)[:, 0])

    def tokens(
        self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Deep = (), last: int = 0
    ) -> Tensor:
        """The class token and, behind it, the last ``last`` ones, normalised: [B, 1 + last, D]."""
        x = embed_patches(self.conv1(images), self.class_embedding, self.positional_embedding)
        x, at = append_prompts(x, prompts, deep_prompts)
        return self.ln_post(self.transformer(self.ln_pre(x), class_and_last(x, last), deep_prompts, at))

    def project(self, tokens: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        return tokens @ self.proj


def embed_patches(patches: Tensor, class_embedding: Tensor, positional_embedding: Tensor) -> Tensor:
    """Patches [B, D, rows, columns] as tokens behind the class token, row by row: [B, 1 + patches, D]."""
    x = patches.flatten(2).transpose(1, 2)
    cls = class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
    return torch.cat([cls, x], dim=1) + positional_embedding.to(x.dtype)


def class_and_last(x: Tensor, last: int) -> Tensor:
    """Positions of the class token and of the last ones in each row of ``x`` [B, T, D]: [B, 1 + last]."""
    return torch.arange(-last, 1, device=x.device).roll(1).expand(x.shape[0], -1)
