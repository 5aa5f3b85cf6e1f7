"""What a backbone is."""

from __future__ import annotations

from torch import nn


class Backbone(nn.Module):
    """Images to features [B, ``out_features``]; a subclass sets ``_out_features``."""

    _out_features: int | None = None

    @property
    def out_features(self) -> int | None:
        """Width of the features; None where it is not known."""
        return self._out_features
