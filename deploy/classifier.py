"""A run as one module: images in, probabilities out.

Shape legend: B images, C classes, E width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainers.core.temperature import calibrated
from trainers.plugins.dpc import DPC
from trainers.plugins.dpc.weighting import Shown


class View(NamedTuple):
    """What some classes are seen through.

    Attributes:
        shown: DPC's prompts; None for those that the trainer shows by itself.
        text: [C, E]; None where it depends on the image.
        columns: [C], the classes that this is for.
    """

    shown: Shown | None
    text: Tensor | None
    columns: Tensor


class Classifier(nn.Module):
    """Images [B, 3, H, W], through the run's test transform, to calibrated probabilities [B, C].

    Text features are computed once. Where DPC meets known classes among others, the known ones are seen
    through the mix for base classes, all others through the one for new classes.

    Args:
        trainer: of a finished run, on the classes that are asked for.
    """

    def __init__(self, trainer: Any) -> None:
        super().__init__()
        trainer.start_test("test")
        self.trainer = trainer
        self.temperature: float | None = trainer.temperature
        # the image tower alone: the text tower has done its work, and files shall not hold it
        self.visual: nn.Module = getattr(trainer.model, "clip", trainer.model).visual
        self.views = _views(trainer)

    @property
    def classnames(self) -> list[str]:
        return list(self.trainer.dm.dataset.classnames)

    def forward(self, images: Tensor) -> Tensor:
        return calibrated(self.logits(images), self.temperature)

    def logits(self, images: Tensor) -> Tensor:
        """[B, C], before temperature scaling."""
        found: Tensor | None = None
        shared = self.trainer.test_image_features(images) if self.trainer.frozen_image_tower() else None
        for view in self.views:
            with _through(self.trainer, view):
                features = self.trainer.test_image_features(images) if shared is None else shared
                own = self.trainer.test_logits(features)
            found = own if found is None else torch.where(view.columns, own, found)
        assert found is not None
        return found


def _views(trainer: Any) -> list[View]:
    names = trainer.dm.dataset.classnames
    known = known_classes(trainer)
    everything = torch.ones(len(names), dtype=torch.bool, device=trainer.device)
    first = View(None, getattr(trainer, "_text_features", None), everything)
    if not 0 < sum(known) < len(names):
        return [first]
    base: Shown = "base" if trainer.weight_base else "tuned"
    with torch.no_grad(), trainer.dual_prompts.showing(base), trainer.precision.autocast():
        text = trainer.test_text_features("test")
    return [first, View(base, text, torch.tensor(known, device=trainer.device))]


def known_classes(trainer: Any) -> list[bool]:
    """Of each class whether DPC's prompts were tuned on it; none is where there is no DPC."""
    names, tuned_on = trainer.dm.dataset.classnames, getattr(trainer, "tuned_on", None)
    if not isinstance(trainer, DPC) or tuned_on is None or not trainer.scope.is_of(tuned_on.dataset):
        return [False] * len(names)
    return [name in tuned_on.names for name in names]


@contextmanager
def _through(trainer: Any, view: View) -> Iterator[None]:
    """Let ``trainer`` see through ``view`` for the length of a with block."""
    if view.text is None and view.shown is None:
        yield
        return
    before, trainer._text_features = trainer._text_features, view.text
    try:
        with trainer.dual_prompts.showing(view.shown) if view.shown else nullcontext():
            yield
    finally:
        trainer._text_features = before
