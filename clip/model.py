"""CLIP's two towers (Radford et al., 2021) with prompts as arguments.

Parameters carry the names of OpenAI's state dicts, so weight files load without renaming.

Shape legend: B images, C texts (classes), T text tokens, P prompt tokens, D width of a tower,
E width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip.resnet import ModifiedResNet


@dataclass(frozen=True)
class Architecture:
    """Sizes of a CLIP model. Attention heads are ``width // 64`` in every tower."""

    embed_dim: int
    image_resolution: int  # pixels
    vision_layers: int | tuple[int, int, int, int]  # four numbers make a ModifiedResNet
    vision_width: int
    vision_patch_size: int | None  # pixels; None for a ModifiedResNet
    context_length: int
    vocab_size: int
    transformer_width: int
    transformer_layers: int


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32, whatever the precision of the tower."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class QuickGELU(nn.Module):
    """The sigmoid approximation of GELU that CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of ``nn.MultiheadAttention``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, causal: bool, read: Tensor | None = None) -> Tensor:
        """[N, T, D] -> [N, T, D]; with ``read`` [N], only the token at that position, [N, 1, D]."""
        if read is None:
            q, k, v = self._projections(x, 0, 3)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        else:
            [q], (k, v) = self._projections(_token_at(x, read), 0, 1), self._projections(x, 1, 3)
            seen = torch.arange(x.shape[1], device=x.device) <= read[:, None] if causal else None
            mask = None if seen is None else seen[:, None, None]  # [N, 1, 1, T]
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _projections(self, x: Tensor, start: int, end: int) -> Tensor:
        """Of queries (0), keys (1) and values (2) those from ``start`` to ``end``, each [N, H, T, d]."""
        rows = slice(start * x.shape[2], end * x.shape[2])
        projected = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return projected.unflatten(2, (end - start, self.heads, -1)).permute(2, 0, 3, 1, 4)


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = MLP(width)
        self.ln_2 = LayerNorm(width)

    def forward(self, x: Tensor, causal: bool, read: Tensor | None = None) -> Tensor:
        """[N, T, D] -> [N, T, D]; with ``read`` [N], only the token at that position, [N, 1, D]."""
        kept = x if read is None else _token_at(x, read)
        x = kept + self.attn(self.ln_1(x), causal, read)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of pre-norm blocks, [N, T, D] -> [N, D], into which deep prompts can be written.

    Of its output only the token at position ``read`` ([N]) is used, so the last block computes no other.

    ``deep_prompts[i]`` ([P, D] or [N, P, D]) replaces the P tokens from position ``at`` on before
    block i + 1; ``at`` may be negative, counted from the end. Blocks without an entry run unchanged.
    """

    def __init__(self, width: int, layers: int, causal: bool) -> None:
        super().__init__()
        self.width, self.layers, self.causal = width, layers, causal
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, width // 64) for _ in range(layers))

    def blocks(self) -> Iterator[ResidualAttentionBlock]:
        for block in self.resblocks:
            assert isinstance(block, ResidualAttentionBlock)
            yield block

    def forward(self, x: Tensor, read: Tensor, deep_prompts: Sequence[Tensor] = (), at: int = 0) -> Tensor:
        assert len(deep_prompts) < self.layers or not deep_prompts, (
            "more deep prompts than blocks to take them"
        )
        for i, block in enumerate(self.blocks()):
            if 1 <= i <= len(deep_prompts):
                x = _replace_tokens(x, deep_prompts[i - 1], at)
            x = block(x, self.causal, read if i == self.layers - 1 else None)
        return x[:, 0]


def _token_at(x: Tensor, position: Tensor) -> Tensor:
    """The token of each row of ``x`` ([N, T, D]) at its position ([N]): [N, 1, D]."""
    return x[torch.arange(len(x), device=x.device), position][:, None]


def _replace_tokens(x: Tensor, prompt: Tensor, at: int) -> Tensor:
    """Write ``prompt`` ([P, D] or [N, P, D]) over the tokens of ``x`` ([N, T, D]) from position ``at`` on."""
    start = at % x.shape[1]
    end = start + prompt.shape[-2]
    prompt = prompt.to(x.dtype).expand(x.shape[0], -1, -1)
    return torch.cat([x[:, :start], prompt, x[:, end:]], dim=1)


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
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, arch.vision_layers, causal=False)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, arch.embed_dim))

    def forward(
        self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Sequence[Tensor] = ()
    ) -> Tensor:
        x = self.conv1(images).flatten(2).transpose(1, 2)  # [B, patches, D]
        cls = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([cls, x], dim=1) + self.positional_embedding.to(x.dtype)
        if prompts is not None:
            x = torch.cat([x, prompts.to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)
        at = -prompts.shape[-2] if prompts is not None else 0
        class_token = torch.zeros(len(x), dtype=torch.long, device=x.device)
        x = self.transformer(self.ln_pre(x), class_token, deep_prompts, at)
        return self.ln_post(x) @ self.proj  # [B, E]


class CLIP(nn.Module):
    """Both towers and the logit scale; a frozen model for everything above this package."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        resnet = isinstance(arch.vision_layers, tuple)
        self.visual: nn.Module = ModifiedResNet(arch) if resnet else VisionTransformer(arch)
        self.transformer = Transformer(arch.transformer_width, arch.transformer_layers, causal=True)
        self.token_embedding = nn.Embedding(arch.vocab_size, arch.transformer_width)
        self.positional_embedding = nn.Parameter(torch.empty(arch.context_length, arch.transformer_width))
        self.ln_final = LayerNorm(arch.transformer_width)
        self.text_projection = nn.Parameter(torch.empty(arch.transformer_width, arch.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    @classmethod
    def create(cls, arch: Architecture) -> CLIP:
        """A randomly initialised model, ready to be trained, with the initial scales of the paper's code."""
        model = cls(arch)
        nn.init.normal_(model.token_embedding.weight, std=0.02)
        nn.init.normal_(model.positional_embedding, std=0.01)
        nn.init.normal_(model.text_projection, std=arch.transformer_width**-0.5)
        towers = [model.transformer]
        if isinstance(model.visual, VisionTransformer):
            towers.append(model.visual.transformer)
        for tower in towers:
            for block in tower.blocks():
                nn.init.normal_(block.attn.in_proj_weight, std=tower.width**-0.5)
                nn.init.normal_(block.mlp.c_fc.weight, std=(2 * tower.width) ** -0.5)
                for linear in (block.attn.out_proj, block.mlp.c_proj):
                    nn.init.normal_(linear.weight, std=tower.width**-0.5 * (2 * tower.layers) ** -0.5)
        return model

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the towers' matrix products."""
        return self.visual.conv1.weight.dtype  # type: ignore[union-attr, return-value]

    def encode_image(
        self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Sequence[Tensor] = ()
    ) -> Tensor:
        """Image features, not normalised.

        Args:
            images: [B, 3, H, W], normalised pixels.
            prompts: [P, D] or [B, P, D], appended behind the patch tokens (ViT only).
            deep_prompts: entry i replaces the prompt tokens before block i + 1.

        Returns:
            [B, E].

        Raises:
            ValueError: prompts given to a ResNet tower, which has no tokens to append to.
        """
        images = images.to(self.dtype)
        if isinstance(self.visual, ModifiedResNet):
            if prompts is not None or deep_prompts:
                raise ValueError("visual prompts need a ViT image tower; this CLIP has a ResNet one")
            return self.visual(images)
        return self.visual(images, prompts, deep_prompts)

    def encode_embeddings(
        self, embeddings: Tensor, eot: Tensor, deep_prompts: Sequence[Tensor] = ()
    ) -> Tensor:
        """Text features of embedded prompts, not normalised.

        The text tower is causal, so positions behind the end-of-text token never matter: callers cut
        the context to the longest prompt of the call.

        Args:
            embeddings: [C, T, D], without the positional embedding, T <= context length.
            eot: [C], position of the end-of-text token.
            deep_prompts: entry i ([P, D] or [C, P, D]) replaces tokens 1 .. P before block i + 1.

        Returns:
            [C, E].
        """
        x = (embeddings + self.positional_embedding[: embeddings.shape[1]]).to(self.dtype)
        x = self.transformer(x, eot.to(x.device), deep_prompts, at=1)
        return self.ln_final(x) @ self.text_projection

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Text features [C, E], not normalised, of token ids [C, T]."""
        eot = tokens.argmax(dim=-1)
        longest = int(eot.max()) + 1 if len(eot) else 1
        return self.encode_embeddings(self.token_embedding(tokens[:, :longest]), eot)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits [B, C] of Eq. 1 of the DPC paper before the softmax."""
        return similarity_logits(self.encode_image(images), self.encode_text(tokens), self.logit_scale.exp())


def similarity_logits(image_features: Tensor, text_features: Tensor, scale: Tensor) -> Tensor:
    """Cosine similarities of [B, E] image and [C, E] text features times ``scale`` (1/tau): [B, C]."""
    return scale * F.normalize(image_features, dim=-1) @ F.normalize(text_features, dim=-1).t()


def set_precision(model: CLIP, dtype: torch.dtype) -> CLIP:
    """Cast the matrix products to ``dtype`` in place; norms, embeddings and the logit scale stay float32."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, Attention)):
            module.to(dtype)
    model.text_projection.data = model.text_projection.data.to(dtype)
    if isinstance(model.visual, VisionTransformer):
        model.visual.proj.data = model.visual.proj.data.to(dtype)
    return model
