"""Which classes a run is on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import train
from trainers.core.scope import Scope, TunedOn

FIVE = Scope("EuroSAT", "EuroSAT", tuple("abcde"), "all")


@pytest.mark.parametrize(
    ("names", "subset", "half", "first"),
    [
        ("abcde", "all", "abcde", 0),
        ("abcde", "base", "abc", 0),
        ("abcde", "new", "de", 3),
        ("abcd", "base", "ab", 0),
        ("abcd", "new", "cd", 2),
        ("a", "base", "a", 0),
        ("a", "new", "", 1),
    ],
)
def test_halves(names: str, subset: str, half: str, first: int) -> None:
    scope = Scope("EuroSAT", "EuroSAT", tuple(names), "all").half(subset)
    assert "".join(scope.names) == half and scope.first == first and scope.subset == subset
    assert scope.indices().tolist() == [names.index(name) for name in half]


def test_the_rest_of_a_scope_stays() -> None:
    half = Scope("mine", "Folder", tuple("abcd"), "all", is_source=True).half("new")
    assert (half.dataset, half.registered, half.is_source) == ("mine", "Folder", True)


def test_an_unknown_half_is_named() -> None:
    with pytest.raises(ValueError, match=r"SUBSAMPLE_CLASSES is 'old'; it must be one of all, base, new"):
        FIVE.half("old")


@pytest.mark.parametrize(
    ("subset", "is_source", "within"),
    [
        ("base", False, True),
        ("new", False, False),
        ("all", False, False),
        ("base", True, True),
        ("new", True, False),
        ("all", True, True),
    ],
)
def test_without_a_word_of_the_checkpoint_the_subset_decides(
    subset: str, is_source: bool, within: bool
) -> None:
    scope = Scope("X", "X", tuple("ab"), subset, is_source)
    assert scope.is_within(None) == within


@pytest.mark.parametrize("subset", ["all", "base", "new"])
@pytest.mark.parametrize(
    ("dataset", "names", "within"),
    [
        ("EuroSAT", "abc", True),
        ("EuroSAT", "cabd", True),
        ("EuroSAT", "ab", False),
        ("EuroSAT", "de", False),
        ("UCF101", "abc", False),
    ],
)
def test_what_a_checkpoint_says_decides_whatever_the_subset(
    subset: str, dataset: str, names: str, within: bool
) -> None:
    scope = Scope("EuroSAT", "EuroSAT", tuple("abc"), subset, is_source=True)
    assert scope.is_within(TunedOn(dataset, list(names))) == within


def test_a_folder_of_ones_own_goes_by_its_name_or_as_one_of_them() -> None:
    mine = Scope("mine", "Folder", ("a", "b"), "base")
    assert mine.is_of("mine") and mine.is_of("Folder") and not mine.is_of("yours")
    assert mine.is_within(TunedOn("Folder", ["a", "b"])) and not mine.is_within(TunedOn("yours", ["a", "b"]))


def test_what_a_checkpoint_says() -> None:
    assert TunedOn.of({"state_dict": {}}) is None
    names = ("a", "b")
    assert TunedOn.of({"dataset": "X", "classnames": names}) == TunedOn("X", ["a", "b"])


def test_the_scope_of_a_run() -> None:
    words = ["DATASET.NAME", "Folder", "DATASET.SUBSAMPLE_CLASSES", "new"]
    cfg = train.setup_cfg(train.parse_arguments(words))
    found = Scope.of(cfg, SimpleNamespace(name="mine", classnames=["a", "b"], is_source=True))
    assert found == Scope("mine", "Folder", ("a", "b"), "new", True, 0)
    plain = Scope.of(cfg, SimpleNamespace(name="mine", classnames=["a", "b"]))
    assert not plain.is_source


def test_the_scope_of_a_data_set_without_halves_is_all_of_it() -> None:
    """Of a shifted ImageNet: where a checkpoint says nothing, no class of it is one of the source's."""
    words = ["DATASET.NAME", "ImageNetA", "DATASET.SUBSAMPLE_CLASSES", "base"]
    cfg = train.setup_cfg(train.parse_arguments(words))
    found = Scope.of(cfg, SimpleNamespace(name="ImageNetA", classnames=["a", "b", "c"], has_halves=False))
    assert found == Scope("ImageNetA", "ImageNetA", ("a", "b", "c"), "all", has_halves=False)
    assert not found.is_within(None)
    assert not found.is_within(TunedOn("ImageNet", ["a", "b", "c"]))
    for subset in ("all", "base", "new"):
        assert found.half(subset) == found
    with pytest.raises(ValueError, match="'old'"):
        found.half("old")
