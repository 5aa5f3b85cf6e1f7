"""MMRL++: MMRL with fewer parameters, and layers that pass tokens on (Guo and Gu, 2025, arXiv 2505.10088).

Shape legend: B images, P representation tokens, R width of their space, D width of a tower,
E width of the joint embedding, r rank of a residual.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dassl.config import CfgNode as CN
from dassl.config.rules import number, whole
from dassl.engine import TRAINER_REGISTRY
from trainers.mmrl import MMRL, RepresentationLearner


class Residual(nn.Module):
    """A matrix [out, in] of rank r, at first 0: ``A`` [out, r] @ ``B`` [r, in]."""

    def __init__(self, out: int, into: int, rank: int) -> None:
        super().__init__()
        self.A = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(out, rank), a=math.sqrt(5)))
        self.B = nn.Parameter(torch.zeros(rank, into))


class LayerMap(Residual):
    """What one layer adds to the map of all: a residual to its weight [out, in], and a ``bias`` [out]."""

    def __init__(self, out: int, into: int, rank: int, bias: Tensor) -> None:
        super().__init__(out, into, rank)
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """[P, in] -> [P, out]."""
        return F.linear(tokens, weight + self.A @ self.B, self.bias)


class SharedMap(nn.Module):
    """Maps [P, R] to [P, D] for each of several layers."""

    def __init__(self, into: int, out: int, layers: int, rank: int) -> None:
        super().__init__()
        start = nn.Linear(into, out)
        self.weight = nn.Parameter(start.weight.detach().clone())
        self.srra = nn.ModuleList(LayerMap(out, into, rank, start.bias) for _ in range(layers))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        return [layer(tokens, self.weight) for layer in self.srra]


class ResidualLearner(RepresentationLearner):
    def add_maps(self, text: int, vision: int, embed: int, options: CN) -> None:
        layers, rank = len(self.blocks), options.RES_LORA_DIM
        self.share = options.BETA
        self.srra_r2vproj = SharedMap(options.REP_DIM, vision, layers, rank)
        self.srra_r2tproj = SharedMap(options.REP_DIM, text, layers, rank)
        self.rep = Residual(vision, embed, options.PROJ_LORA_DIM)

    def mapped(self, tower: str) -> list[Tensor]:
        return getattr(self, f"srra_r2{tower}proj")(self.compound_rep_tokens)

    def rep_feature(self, tokens: Tensor, visual: nn.Module) -> Tensor:
        """CLIP's own projection and a residual to it."""
        mean = tokens.mean(dim=1)
        return visual.project(mean).float() + mean.float() @ self.rep.A @ self.rep.B  # type: ignore[operator]

    def checkpoint_key(self, name: str) -> str:
        part, _, matrix = name.partition(".")
        return f"image_encoder.{matrix}" if part == "rep" else f"representation_learner.{name}"


@TRAINER_REGISTRY.register()
class MMRLpp(MMRL):
    NODE = "MMRLpp"
    OPTIONS = {
        "MMRLpp": CN(
            {
                **MMRL.OPTIONS["MMRL"],
                "BETA": 0.9,  # share of a later layer's own tokens, the rest is its input, 0..1
                "RES_LORA_DIM": 4,  # rank of a layer's residual to the towers' shared projections
                "PROJ_LORA_DIM": 64,  # rank of the representation feature's residual to CLIP's projection
            }
        )
    }
    ALLOWED = {"BETA": number(0, 1), "RES_LORA_DIM": whole(1, 2**16), "PROJ_LORA_DIM": whole(1, 2**16)}
    LEARNER = ResidualLearner
