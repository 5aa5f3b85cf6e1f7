"""Small functions of labels, probabilities and training progress."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


def sharpen_prob(p: torch.Tensor, temperature: float = 2) -> torch.Tensor:
    """Probabilities [B, C] to the power of ``temperature``, normalised again."""
    p = p.pow(temperature)
    return p / p.sum(1, keepdim=True)


def reverse_index(data: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both from the last to the first."""
    return data.flip(0), label.flip(0)


def shuffle_index(data: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in one random order."""
    order = torch.randperm(data.shape[0])
    return data[order], label[order]


def create_onehot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Labels [B] as float32 [B, num_classes] of ones and zeros, on the CPU."""
    return F.one_hot(label.cpu(), num_classes).float()


def sigmoid_rampup(current: float, rampup_length: float) -> float:
    """exp(-5 (1 - t)^2) of t = current / rampup_length, cut to 0..1."""
    return math.exp(-5.0 * (1.0 - linear_rampup(current, rampup_length)) ** 2)


def linear_rampup(current: float, rampup_length: float) -> float:
    """current / rampup_length, cut to 0..1; ValueError where the length is not positive."""
    if rampup_length <= 0:
        raise ValueError(f"rampup_length must be positive, got {rampup_length}")
    return min(max(current / rampup_length, 0.0), 1.0)


@torch.no_grad()
def ema_model_update(model: nn.Module, ema_model: nn.Module, alpha: float) -> None:
    """Move the parameters of ``ema_model`` towards those of ``model``: alpha old + (1 - alpha) new."""
    for mean, value in zip(ema_model.parameters(), model.parameters(), strict=True):
        mean.mul_(alpha).add_(value, alpha=1 - alpha)
