"""How DPC is read: the paper's equations, the authors' released code, and what lies between.

The authors' code does not compute what the paper writes: its "frozen" prompt shares storage with the trained
one. `READINGS` holds what ``TRAINER.DPC.VARIANT`` can name; `register` adds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainers.plugins.dpc.weighting import Leaf, MixedLeaf, ParallelLeaf, Rule, ScaledLeaf


@dataclass(frozen=True)
class Reading:
    """One way to read DPC.

    Attributes:
        name: its name in ``TRAINER.DPC.VARIANT`` and in checkpoints.
        leaf: what the optimiser moves, and so how far a step moves P'.
        mixes_base: base classes see w_b P' + (1 - w_b) P (Eq. 12), in prompts and statistics alike; if not,
            P' alone. New classes see w_n P' + (1 - w_n) P (Eq. 13).
        reduction: of the two directions of the contrastive loss; Eq. 9 is their sum.
        pool: images that negatives are drawn from, the few-shot training set or the full training split.
        keeps_duplicates: a mini-batch may hold several images of a class; if not, the first stays.
        fills_up: an image whose Top-K lacks its true class has K negatives, not K - 1; one with fewer than
            two is topped up with random classes.
        augments_negatives: the negatives' images go through the training transform; if not, the test one.
    """

    name: str
    leaf: Leaf
    mixes_base: bool = True
    reduction: Literal["sum", "mean"] = "sum"
    pool: Literal["fewshot", "train"] = "fewshot"
    keeps_duplicates: bool = False
    fills_up: bool = False
    augments_negatives: bool = True

    def limits(self, k: int) -> tuple[int, int]:
        """Most and fewest negatives of an image under Top-K."""
        return (k, 2) if self.fills_up else (k - 1, 0)

    def rule(self, name: str, weight_base: float, weight_new: float) -> Rule:
        """How the learner's tensor ``name`` is dual under w_b and w_n."""
        return Rule(self.leaf, weight_base, weight_new, self.mixes_base)


# Eq. 9, 12 and 13 as they are written: P~_b is tuned, through the inverse of its own mixing.
PAPER = Reading("paper", MixedLeaf())
# What the published figures come from.
RELEASED = Reading(
    "released",
    ScaledLeaf(),
    mixes_base=False,
    reduction="mean",
    pool="train",
    keeps_duplicates=True,
    fills_up=True,
)
# The equations with P' as what is tuned: Eq. 12 mixes at evaluation alone.
DIRECT = Reading("direct", ParallelLeaf())

READINGS = {reading.name: reading for reading in (PAPER, RELEASED, DIRECT)}


def register(reading: Reading) -> Reading:
    """Let ``TRAINER.DPC.VARIANT`` name ``reading``.

    Raises:
        ValueError: another reading has that name.
    """
    if READINGS.setdefault(reading.name, reading) is not reading:
        raise ValueError(f"another reading of DPC is called {reading.name!r}")
    return reading
