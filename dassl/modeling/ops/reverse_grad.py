"""Gradient reversal (Ganin and Lempitsky, 2015)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return -ctx.scale * gradients[0], None


class ReverseGrad(nn.Module):
    """Gives its input; its gradient is the negative one, times ``grad_scaling``."""

    def forward(self, x: torch.Tensor, grad_scaling: float = 1.0) -> torch.Tensor:
        if grad_scaling < 0:
            raise ValueError(f"grad_scaling must not be negative, got {grad_scaling}")
        return _Reversed.apply(x, grad_scaling)
