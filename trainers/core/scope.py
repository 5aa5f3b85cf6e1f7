"""Which classes a run is on: base or new ones, all of them, or those of a source elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dassl.config import CfgNode as CN
from dassl.data.datasets import chosen_subset, subset_labels


class TunedOn(NamedTuple):
    """The classes that a checkpoint's prompts were tuned on."""

    dataset: str
    names: list[str]

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> TunedOn | None:
        """What the checkpoint says; None where it is one of the original repositories', which don't."""
        if "classnames" not in checkpoint:
            return None
        return cls(checkpoint["dataset"], list(checkpoint["classnames"]))


@dataclass(frozen=True)
class Scope:
    """The classes that a run, or one evaluation of it, is on.

    Attributes:
        dataset: what the data set calls itself.
        registered: the name that it is registered under, ``DATASET.NAME``.
        names: class names in the order of their labels.
        subset: all, base or new, ``DATASET.SUBSAMPLE_CLASSES``.
        is_source: whether the data set is the one that the cross-dataset protocols tune on.
        first: index of the first class among all for which there are prompts.
        has_halves: whether the classes are divided into base and new ones at all.
    """

    dataset: str
    registered: str
    names: tuple[str, ...]
    subset: str
    is_source: bool = False
    first: int = 0
    has_halves: bool = True

    @classmethod
    def of(cls, cfg: CN, dataset: Any) -> Scope:
        """The scope of a run under ``cfg`` on a data set with ``name`` and ``classnames``."""
        is_source = getattr(dataset, "is_source", False)
        return cls(
            dataset.name,
            cfg.DATASET.NAME,
            tuple(dataset.classnames),
            chosen_subset(cfg, dataset),
            is_source,
            has_halves=getattr(dataset, "has_halves", True),
        )

    def half(self, subset: str) -> Scope:
        """The base classes of a scope of all classes, the new ones, or all; all where there are no halves.

        Raises:
            ValueError: ``subset`` is none of these.
        """
        labels = subset_labels(subset, len(self.names))
        if not self.has_halves:
            return self
        names = self.names[labels.start : labels.stop]
        return replace(self, names=names, subset=subset, first=self.first + labels.start)

    def indices(self) -> Tensor:
        """Indices of these classes among all for which there are prompts, [C]."""
        return torch.arange(self.first, self.first + len(self.names))

    def is_of(self, dataset: str) -> bool:
        """Whether a checkpoint that names ``dataset`` means this data set."""
        # checkpoints written before data sets of one's own had names call each of them Folder
        return dataset in (self.dataset, self.registered)

    def is_within(self, tuned_on: TunedOn | None) -> bool:
        """Whether all of these classes are among those that prompts were tuned on.

        Where that is not known, the original repositories' rule decides: base classes are, and all classes
        of the source of the cross-dataset protocols.
        """
        if tuned_on is None:
            return self.subset == "base" or (self.subset == "all" and self.is_source)
        return self.is_of(tuned_on.dataset) and set(self.names) <= set(tuned_on.names)
