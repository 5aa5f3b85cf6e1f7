"""Helpers that only other people's code calls, under the names of Dassl's modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dassl import utils
from dassl.metrics import compute_distance_matrix, cosine_distance
from dassl.utils import tools, torchtools


@pytest.mark.parametrize("module", [tools, torchtools])
def test_the_modules_hand_on_what_the_package_has(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        assert getattr(module, name) is getattr(utils, name)


def test_the_most_similar_string() -> None:
    assert tools.get_most_similar_str_to_a_from_b("EuroSat", ["Food101", "EuroSAT", "DTD"]) == "EuroSAT"
    assert tools.get_most_similar_str_to_a_from_b("ab", ["abc", "abd"]) == "abd"  # Dassl takes the last
    assert tools.get_most_similar_str_to_a_from_b("ab", []) is None


def test_a_download_is_whole_or_not_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source.txt", tmp_path / "folder" / "target.txt"
    source.write_text("some text")
    tools.download_url(source.as_uri(), str(target))
    assert target.read_text() == "some text"
    with pytest.raises(OSError, match=r"absent\.txt"):
        tools.download_url((tmp_path / "absent.txt").as_uri(), str(tmp_path / "folder" / "other.txt"))
    assert [path.name for path in target.parent.iterdir()] == ["target.txt"]


def test_weights_are_drawn_anew() -> None:
    model = nn.Sequential(nn.Conv2d(3, 50, 5), nn.BatchNorm2d(50), nn.Linear(50, 50), nn.LayerNorm(50))
    nn.init.constant_(model[3].weight, 7.0)
    torch.manual_seed(0)
    torchtools.init_network_weights(model, "normal", gain=0.3)
    for layer in (model[0], model[2]):
        assert layer.weight.std().item() == pytest.approx(0.3, rel=0.1) and not layer.bias.any()
    assert (model[1].weight == 1).all() and (model[3].weight == 7).all()
    torchtools.init_network_weights(model, "orthogonal", gain=2.0)
    torch.testing.assert_close(model[2].weight @ model[2].weight.T, 4 * torch.eye(50), rtol=0, atol=1e-4)
    torchtools.init_network_weights(model, "kaiming")
    assert model[2].weight.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.1)
    torchtools.init_network_weights(model, "xavier", gain=3.0)
    assert model[2].weight.std().item() == pytest.approx(3 * (2 / 100) ** 0.5, rel=0.1)
    with pytest.raises(ValueError, match="kaiming"):
        torchtools.init_network_weights(model, "kaimin")


def test_distances() -> None:
    a, b = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [1.0, 0.0], [6.0, 8.0]])
    torch.testing.assert_close(compute_distance_matrix(a, b), torch.cdist(a, b) ** 2)
    torch.testing.assert_close(
        compute_distance_matrix(a, b, "cosine"), torch.tensor([[1.0, 0.0, 0.4], [0.2, 0.4, 0.0]])
    )
    assert torch.equal(cosine_distance(a, b), compute_distance_matrix(a, b, "cosine"))
    with pytest.raises(ValueError, match="euclidean"):
        compute_distance_matrix(a, b, "euclidian")
