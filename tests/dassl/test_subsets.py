"""Base and new classes: one rule for data sets and trainers."""

from __future__ import annotations

import pytest

from dassl.data.datasets import check_subset, subset_labels


@pytest.mark.parametrize(("classes", "base"), [(1, 1), (2, 1), (5, 3), (6, 3), (101, 51)])
def test_the_middle_class_is_a_base_class(classes: int, base: int) -> None:
    assert subset_labels("base", classes) == range(base)
    assert subset_labels("new", classes) == range(base, classes)
    assert subset_labels("all", classes) == range(classes)


def test_other_words_are_refused() -> None:
    for name in ("", "Base", "novel"):
        with pytest.raises(
            ValueError, match=f"SUBSAMPLE_CLASSES is {name!r}; it must be one of all, base, new"
        ):
            check_subset(name)
        with pytest.raises(ValueError, match="must be one of"):
            subset_labels(name, 4)
