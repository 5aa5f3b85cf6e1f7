"""Prompts that enter a transformer between its blocks.

Shape legend: N rows of a batch, T tokens, P prompt tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Written(NamedTuple):
    """What is written among the tokens of every row before a block.

    Attributes:
        tokens: [P, D] or [N, P, D].
        inserted: they push those behind them back, and rows grow by P; if not, they replace P tokens.
        share: of the new values; the rest is what stood there.
    """

    tokens: Tensor
    inserted: bool = False
    share: float = 1.0

    def into(self, x: Tensor, read: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """The tokens ``x`` [N, T, D] with these from position ``at`` on, and where the ``read`` ones are now.

        A negative position is counted from the end of the rows that result.

        Raises:
            ValueError: they reach beyond the last token.
        """
        tokens = self.tokens.to(x.dtype).expand(x.shape[0], -1, -1)
        total = x.shape[1] + (length := tokens.shape[1]) * self.inserted
        start = at % total
        rest = start if self.inserted else start + length  # where the old tokens go on
        if rest > x.shape[1]:
            raise ValueError(
                f"a deep prompt of {length} tokens does not fit behind token {start} of {x.shape[1]}"
            )
        if self.share != 1:
            tokens = torch.lerp(x[:, start:rest], tokens, self.share)
        if self.inserted:
            read = read + length * (read >= start)
        return torch.cat([x[:, :start], tokens, x[:, rest:]], dim=1), read


Deep = (
    Sequence[Tensor] | Mapping[int, Written]
)  # entry i enters before block i + 1; a mapping's before block i
