"""CLIP's two towers (Radford et al., 2021) with prompts as arguments.

Parameters carry the names of OpenAI's state dicts, so weight files load without renaming.

Shape legend: B images, C texts (classes), T text tokens, P prompt tokens, D width of a tower,
E width of the joint embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip.arch import TEXT_HEAD_WIDTH, Architecture
from clip.eva02 import EVA02Transformer
from clip.resnet import ModifiedResNet
from clip.vit import MLP, Attention, LayerNorm, VisionTransformer, make_transformer
from clip.written import Deep


def make_image_tower(arch: Architecture) -> nn.Module:
    """The image tower, [B, 3, H, W] -> [B, E].

    Raises:
        ValueError: a family whose tower is not built here.
    """
    if arch.family == "eva02":
        return EVA02Transformer(arch)
    if arch.family != "openai":
        raise ValueError(f"family is {arch.family!r}, must be one of: openai, eva02")
    return ModifiedResNet(arch) if isinstance(arch.vision_layers, tuple) else VisionTransformer(arch)


class CLIP(nn.Module):
    """Both towers and the logit scale; a frozen model for everything above this package."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.visual = make_image_tower(arch)
        self.transformer = make_transformer(
            arch.transformer_width, arch.transformer_layers, TEXT_HEAD_WIDTH, arch.transformer_hidden_width,
            arch.activation, causal=True,
        )  # fmt: skip
        self.token_embedding = nn.Embedding(arch.vocab_size, arch.transformer_width)
        self.positional_embedding = nn.Parameter(torch.empty(arch.context_length, arch.transformer_width))
        self.ln_final = LayerNorm(arch.transformer_width)
        self.text_projection = nn.Parameter(torch.empty(arch.transformer_width, arch.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    @classmethod
    def create(cls, arch: Architecture) -> CLIP:
        """A randomly initialised model, ready to be trained, with the initial scales of the paper's code.

        The blocks of EVA02's image tower, which that code does not have, keep PyTorch's.
        """
        model = cls(arch)
        nn.init.normal_(model.token_embedding.weight, std=0.02)
        nn.init.normal_(model.positional_embedding, std=0.01)
        nn.init.normal_(model.text_projection, std=arch.transformer_width**-0.5)
        towers = [model.transformer]
        if isinstance(model.visual, VisionTransformer):
            towers.append(model.visual.transformer)
        for tower in towers:
            for block in tower.blocks():
                assert isinstance(block.attn, Attention) and isinstance(block.mlp, MLP)
                nn.init.normal_(block.attn.in_proj_weight, std=tower.width**-0.5)
                nn.init.normal_(block.mlp.c_fc.weight, std=(2 * tower.width) ** -0.5)
                for linear in (block.attn.out_proj, block.mlp.c_proj):
                    nn.init.normal_(linear.weight, std=tower.width**-0.5 * (2 * tower.layers) ** -0.5)
        return model

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the towers' matrix products."""
        return self.visual.conv1.weight.dtype  # type: ignore[union-attr, return-value]

    def encode_image(self, images: Tensor, prompts: Tensor | None = None, deep_prompts: Deep = ()) -> Tensor:
        """Image features, not normalised.

        Args:
            images: [B, 3, H, W], normalised pixels.
            prompts: [P, D] or [B, P, D], appended behind the patch tokens (ViT only).
            deep_prompts: entry i replaces the prompt tokens before block i + 1; or, without ``prompts``,
                by block what is written there behind the patch tokens.

        Returns:
            [B, E].

        Raises:
            ValueError: prompts given to a ResNet tower, which has no tokens to append to; deep prompts
                without ``prompts``, of another length, or more than there are blocks behind the first.
        """
        images = images.to(self.dtype)
        if isinstance(self.visual, ModifiedResNet):
            if prompts is not None or deep_prompts:
                raise ValueError("visual prompts need a ViT image tower; this CLIP has a ResNet one")
            return self.visual(images)
        return self.visual(images, prompts, deep_prompts)

    def image_tokens(self, images: Tensor, deep_prompts: Deep, last: int) -> Tensor:
        """What stands behind the image tower's last block, normalised and not yet projected (ViT only).

        Args:
            images: [B, 3, H, W], normalised pixels.
            deep_prompts: by block, what is written there behind the patch tokens.
            last: tokens from the end.

        Returns:
            [B, 1 + last, D], the class token first; ``visual.project`` leads from it to [B, E].
        """
        return self.visual.tokens(images.to(self.dtype), None, deep_prompts, last)  # type: ignore[operator]

    def encode_embeddings(self, embeddings: Tensor, eot: Tensor, deep_prompts: Deep = ()) -> Tensor:
        """Text features of embedded prompts, not normalised.

        The text tower is causal, so positions behind the end-of-text token never matter: callers cut
        the context to the longest prompt of the call.

        Args:
            embeddings: [C, T, D], without the positional embedding, T <= context length.
            eot: [C], position of the end-of-text token.
            deep_prompts: entry i ([P, D] or [C, P, D]) replaces tokens 1 .. P before block i + 1; or by
                block what is written from token 1 on.

        Returns:
            [C, E].

        Raises:
            ValueError: more deep prompts than blocks behind the first, or longer ones than the text.
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
