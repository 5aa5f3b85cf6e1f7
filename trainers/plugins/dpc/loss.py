"""Hard-negative optimising (Sec. 3.3 of the DPC paper): a symmetric contrastive loss."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(logits: Tensor, reduction: Literal["sum", "mean"] = "sum") -> Tensor:
    """Symmetric InfoNCE over L image-text pairs (Eq. 9-11).

    Args:
        logits: [L, L], images by rows, texts by columns, pair i on the diagonal; cosine similarities
            over the temperature.
        reduction: of the two directions: "sum" as in Eq. 9, "mean" as in the authors' released code.

    Returns:
        Scalar.
    """
    pairs = torch.arange(len(logits), device=logits.device)
    both = F.cross_entropy(logits, pairs) + F.cross_entropy(logits.t(), pairs)
    return both if reduction == "sum" else both / 2
