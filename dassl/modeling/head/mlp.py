"""Linear layers between a backbone and a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dassl.modeling.head.build import HEAD_REGISTRY
from dassl.utils.registry import check_availability

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


class MLP(nn.Module):
    """A linear layer, normalisation, activation and dropout for each of ``hidden_layers``.

    Raises:
        ValueError: there is no hidden layer, or the activation is unknown.
    """

    def __init__(
        self,
        in_features: int = 2048,
        hidden_layers: int | Sequence[int] = (),
        activation: str = "relu",
        bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [hidden_layers] if isinstance(hidden_layers, int) else list(hidden_layers)
        if not widths:
            raise ValueError("MODEL.HEAD.HIDDEN_LAYERS is empty: name the width of a layer or more")
        check_availability(activation, _ACTIVATIONS)
        layers: list[nn.Module] = []
        for before, width in zip([in_features, *widths], widths, strict=False):
            layers.append(nn.Linear(before, width))
            if bn:
                layers.append(nn.BatchNorm1d(width))
            layers.append(_ACTIVATIONS[activation](inplace=True))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        self.out_features = widths[-1]
        self.mlp = nn.Sequential(*layers)  # the keys of Dassl's checkpoints

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(x)


@HEAD_REGISTRY.register()
def mlp(**kwargs: Any) -> MLP:
    """The head that ``MODEL.HEAD.NAME mlp`` names."""
    return MLP(**kwargs)
