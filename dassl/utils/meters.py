"""Running means of losses and times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch

Number = float | torch.Tensor


class AverageMeter:
    """Last value and mean. Tensors are summed where they are; only reading a value waits for the device."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self._last: Number = 0.0
        self._sum: Number = 0.0
        self.count = 0

    def update(self, val: Number, n: int = 1) -> None:
        """Add ``val``, the mean of ``n`` values."""
        if isinstance(val, torch.Tensor):
            val = val.detach().float()
        self._last = val
        self._sum = self._sum + val * n
        self.count += n

    @property
    def val(self) -> float:
        """The last value."""
        return float(self._last)

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return float(self._sum)

    @property
    def avg(self) -> float:
        """The mean of all values, 0 when there are none."""
        return self.sum / self.count if self.count else 0.0


class MetricMeter:
    """An ``AverageMeter`` for each named value; as text: ``loss 0.1 (0.2) acc 50.0 (40.0)``, last (mean)."""

    def __init__(self, delimiter: str = " ") -> None:
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: Mapping[str, Number] | None) -> None:
        """Add one value for each name."""
        for name, value in (input_dict or {}).items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        return self.delimiter.join(f"{name} {m.val:.4f} ({m.avg:.4f})" for name, m in self.meters.items())
