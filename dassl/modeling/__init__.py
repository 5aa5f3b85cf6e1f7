"""Networks of a backbone, a head and a classifier, for other people's trainers. The backbones are theirs."""

from dassl.modeling.backbone import BACKBONE_REGISTRY, build_backbone
from dassl.modeling.head import HEAD_REGISTRY, build_head
from dassl.modeling.network import NETWORK_REGISTRY, build_network
from dassl.modeling.simple_net import SimpleNet

__all__ = [
    "BACKBONE_REGISTRY",
    "HEAD_REGISTRY",
    "NETWORK_REGISTRY",
    "SimpleNet",
    "build_backbone",
    "build_head",
    "build_network",
]
