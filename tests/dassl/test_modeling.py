"""Networks by name, and the blocks for semi-supervised learning and domain adaptation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dassl.config import get_cfg_default
from dassl.engine import SimpleNet
from dassl.modeling import BACKBONE_REGISTRY, NETWORK_REGISTRY, build_backbone, build_head, build_network
from dassl.modeling.backbone import Backbone
from dassl.modeling.ops import ReverseGrad, cross_entropy, mixup
from dassl.modeling.ops.utils import (
    create_onehot,
    ema_model_update,
    linear_rampup,
    reverse_index,
    sharpen_prob,
    shuffle_index,
    sigmoid_rampup,
)


class Means(Backbone):
    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        self.pretrained = pretrained
        self._out_features = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


@pytest.fixture(autouse=True)
def _means() -> Iterator[None]:
    def means(pretrained: bool = True, **kwargs: object) -> Means:
        return Means(pretrained)

    BACKBONE_REGISTRY.register(means)
    yield
    BACKBONE_REGISTRY._objects.clear()


def test_what_is_not_registered_is_said() -> None:
    message = (
        r"'resnet50' is not registered in the BACKBONE registry.*means.*@BACKBONE_REGISTRY\.register\(\)"
    )
    with pytest.raises(ValueError, match=message):
        build_backbone("resnet50")
    with pytest.raises(ValueError, match=r"'mpl' is not registered in the HEAD registry\. Did you mean"):
        build_head("mpl")
    with pytest.raises(ValueError, match="NETWORK registry"):
        build_network("fcn")
    NETWORK_REGISTRY.register(Means)
    assert isinstance(build_network("Means", verbose=False, pretrained=False), Means)
    NETWORK_REGISTRY._objects.clear()
    assert Backbone().out_features is None


def test_a_head() -> None:
    options = {"in_features": 4, "hidden_layers": [6, 5], "activation": "leaky_relu", "dropout": 0.5}
    head = build_head("mlp", verbose=False, **options)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Dropout] * 2
    assert [type(layer) for layer in head.mlp] == kinds and head.out_features == 5
    assert (head.mlp[0].in_features, head.mlp[4].in_features, head.mlp[4].out_features) == (4, 6, 5)
    plain = build_head("mlp", in_features=4, hidden_layers=7, bn=False)
    assert [type(layer) for layer in plain.mlp] == [nn.Linear, nn.ReLU]
    x = torch.randn(2, 4)
    torch.testing.assert_close(plain(x), F.relu(F.linear(x, plain.mlp[0].weight, plain.mlp[0].bias)))
    with pytest.raises(ValueError, match="HIDDEN_LAYERS is empty"):
        build_head("mlp")
    with pytest.raises(ValueError, match="relu"):
        build_head("mlp", hidden_layers=[1], activation="gelu")


def test_a_simple_net() -> None:
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED = "means", False
    x = torch.randn(5, 3, 2, 2)
    net = SimpleNet(cfg, cfg.MODEL, 4)
    assert net.head is None and net.fdim == 3 and not net.backbone.pretrained
    logits, features = net(x, return_feature=True)
    assert torch.equal(features, x.mean((2, 3))) and torch.equal(logits, net.classifier(features))
    assert torch.equal(net(x), logits)
    cfg.MODEL.HEAD.NAME = "mlp"
    assert SimpleNet(cfg, cfg.MODEL, 4).head is None  # as long as it has no layers
    cfg.MODEL.HEAD.HIDDEN_LAYERS = (6,)
    net = SimpleNet(cfg, cfg.MODEL, 0)
    assert net.fdim == 6 and net.classifier is None and net(x).shape == (5, 6)


def test_gradient_reversal() -> None:
    x = torch.randn(3, requires_grad=True)
    y = ReverseGrad()(x, grad_scaling=2.0)
    assert torch.equal(y, x)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [-2.0, -4.0, -6.0]
    with pytest.raises(ValueError, match="negative"):
        ReverseGrad()(x, grad_scaling=-1.0)


def test_smoothed_cross_entropy() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    target = 0.9 * F.one_hot(labels, 4) + 0.1 / 4
    each = -(target * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(cross_entropy(logits, labels, 0.1, "none"), each)
    torch.testing.assert_close(cross_entropy(logits, labels, 0.1), each.mean())


def test_mixup() -> None:
    ones, zeros = torch.ones(500, 1, 1, 1), torch.zeros(500, 1, 1, 1)
    labels = torch.eye(2)[[0] * 500], torch.eye(2)[[1] * 500]
    torch.manual_seed(0)
    x, y = mixup(ones, zeros, *labels, beta=0.75)
    share = x[:, 0, 0, 0]
    torch.testing.assert_close(y, torch.stack([share, 1 - share], 1))
    assert share.min() < 0.2 and share.max() > 0.8 and len(share.unique()) > 400
    x, _ = mixup(ones, zeros, *labels, beta=0.75, preserve_order=True)
    assert x.min() >= 0.5


def test_small_functions() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25]])
    torch.testing.assert_close(sharpen_prob(p), torch.tensor([[4.0, 1.0, 1.0]]) / 6)
    assert create_onehot(torch.tensor([2, 0]), 3).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    data, labels = torch.arange(20), torch.arange(20) * 10
    assert reverse_index(data, labels)[1].tolist() == list(range(190, -1, -10))
    moved, with_them = shuffle_index(data, labels)
    assert torch.equal(moved * 10, with_them) and not torch.equal(moved, data)
    assert [linear_rampup(t, 4) for t in (-1, 1, 9)] == [0.0, 0.25, 1.0]
    assert sigmoid_rampup(0, 10) == pytest.approx(0.006737947) and sigmoid_rampup(20, 10) == 1.0
    with pytest.raises(ValueError, match="rampup_length"):
        sigmoid_rampup(1, 0)


def test_a_moving_average_of_a_model() -> None:
    model, mean = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    nn.init.constant_(mean.weight, 3.0)
    ema_model_update(model, mean, 0.75)
    assert mean.weight.item() == 2.5 and model.weight.item() == 1.0
