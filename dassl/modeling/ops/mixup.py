"""Mixup (Zhang et al., 2018)."""

from __future__ import annotations

import torch
from torch.distributions import Beta


def mixup(
    x1: torch.Tensor,
    x2: torch.Tensor,
    y1: torch.Tensor,
    y2: torch.Tensor,
    beta: float,
    preserve_order: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix images [B, C, H, W] and label distributions [B, N] by a share of Beta(beta, beta) each.

    Args:
        preserve_order: the first of a pair gets the larger share.
    """
    share = Beta(beta, beta).sample([x1.shape[0], 1])
    if preserve_order:
        share = torch.max(share, 1 - share)
    share = share.to(x1.device)
    of_images = share[:, :, None, None]
    return x1 * of_images + x2 * (1 - of_images), y1 * share + y2 * (1 - share)
