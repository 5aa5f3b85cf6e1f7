"""The classifier that a trainer without ``build_model`` trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dassl.config import CfgNode
from dassl.modeling.backbone import build_backbone
from dassl.modeling.head import build_head


class SimpleNet(nn.Module):
    """A backbone, a head where ``model_cfg.HEAD`` describes one, and a linear classifier.

    Args:
        cfg: the whole configuration.
        model_cfg: ``cfg.MODEL``, or another tree like it.
        num_classes: outputs of the classifier; 0: there is none, and features are the output.
        kwargs: further options of the backbone and of the head.
    """

    def __init__(self, cfg: CfgNode, model_cfg: CfgNode, num_classes: int, **kwargs: Any) -> None:
        super().__init__()
        body, head = model_cfg.BACKBONE, model_cfg.HEAD
        self.backbone = build_backbone(body.NAME, cfg.VERBOSE, pretrained=body.PRETRAINED, **kwargs)
        width = self.backbone.out_features
        self.head = None
        if head.NAME and head.HIDDEN_LAYERS:
            self.head = build_head(
                head.NAME, cfg.VERBOSE, in_features=width, hidden_layers=head.HIDDEN_LAYERS,
                activation=head.ACTIVATION, bn=head.BN, dropout=head.DROPOUT, **kwargs,
            )  # fmt: skip
            width = self.head.out_features
        self.classifier = nn.Linear(width, num_classes) if num_classes > 0 else None
        self.fdim = width

    def forward(self, x: torch.Tensor, return_feature: bool = False) -> Any:
        """Logits [B, C] of images; with ``return_feature`` also the features [B, ``fdim``]."""
        features = self.backbone(x)
        if self.head is not None:
            features = self.head(features)
        if self.classifier is None:
            return features
        logits = self.classifier(features)
        return (logits, features) if return_feature else logits
