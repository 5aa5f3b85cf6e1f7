"""Weighting-decoupling (Sec. 3.4 of the DPC paper) on any tensors of any prompt learner.

P tuned prompt (frozen), P' parallel prompt (tuned on base classes), w_b and w_n the two weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# Which prompt a tensor shows: P' (training), the one for base classes, the one for new classes, or P itself.
Shown = Literal["parallel", "base", "new", "tuned"]


def weight(parallel: Tensor, tuned: Tensor, w: float) -> Tensor:
    """Mixed prompt ``w P' + (1 - w) P`` (Eq. 12 with w_b, Eq. 13 with w_n)."""
    return w * parallel + (1 - w) * tuned


def decouple(mixed: Tensor, tuned: Tensor, w: float) -> Tensor:
    """Parallel prompt ``(P~ - (1 - w) P) / w``, the inverse of `weight` (the paper's F^-1)."""
    return (mixed - (1 - w) * tuned) / w


class Leaf(Protocol):
    """What the optimiser moves, as a function of P', P and w_b in (0, 1]."""

    def store(self, parallel: Tensor, tuned: Tensor, w: float) -> Tensor:
        """The leaf that stands for P'."""

    def parallel(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        """P' of a leaf. Its gradient decides how a step on the leaf moves P'."""

    def mixed(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        """P~_b of a leaf (Eq. 12)."""


class ParallelLeaf:
    """The leaf is P' itself: it steps by lr."""

    def store(self, parallel: Tensor, tuned: Tensor, w: float) -> Tensor:
        return parallel

    def parallel(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        return leaf

    def mixed(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        return weight(leaf, tuned, w)


class ScaledLeaf(ParallelLeaf):
    """The leaf is P', its gradient divided by w_b and its weight decay not: it steps by lr / w_b."""

    def parallel(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        return leaf.detach() + (1 / w) * (leaf - leaf.detach())


class MixedLeaf:
    """The leaf is P~_b: P' steps by lr / w_b^2, since `decouple` divides the gradient and the step."""

    def store(self, parallel: Tensor, tuned: Tensor, w: float) -> Tensor:
        return weight(parallel, tuned, w)

    def parallel(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        return decouple(leaf, tuned, w)

    def mixed(self, leaf: Tensor, tuned: Tensor, w: float) -> Tensor:
        return leaf


class Rule(NamedTuple):
    """How a tensor is dual.

    Attributes:
        leaf: what the optimiser moves.
        weight_base: w_b in (0, 1].
        weight_new: w_n in [0, 1].
        mixes_base: base classes see P~_b; if not, P' alone.
        share: of P' in what base classes see, in place of both; None: as they say.
    """

    leaf: Leaf
    weight_base: float
    weight_new: float
    mixes_base: bool
    share: float | None = None

    def share_of(self, shown: Shown) -> float:
        """The weight of P' in what is shown."""
        base = self.weight_base if self.mixes_base else 1.0
        shares = {"parallel": 1.0, "base": base, "new": self.weight_new, "tuned": 0.0}
        return self.share if shown == "base" and self.share is not None else shares[shown]


class DualTensor(nn.Module):
    """Parametrisation of one tensor: whoever reads it sees one of the two prompts, or a mix of them."""

    tuned: Tensor

    def __init__(self, tuned: Tensor, rule: Rule) -> None:
        super().__init__()
        self.register_buffer("tuned", tuned.detach().clone(), persistent=False)
        self.rule = rule
        self.shown: Shown = "parallel"

    def forward(self, leaf: Tensor) -> Tensor:
        rule = self.rule
        if self.shown == "tuned":
            return self.tuned
        chosen = rule.share is not None and self.shown == "base"
        if self.shown == "base" and rule.mixes_base and not chosen:
            return rule.leaf.mixed(leaf, self.tuned, rule.weight_base)
        parallel = rule.leaf.parallel(leaf, self.tuned, rule.weight_base)
        if chosen or self.shown == "new":
            return weight(parallel, self.tuned, rule.share_of(self.shown))
        return parallel

    def right_inverse(self, parallel: Tensor) -> Tensor:
        """The leaf that stands for ``parallel``."""
        return self.rule.leaf.store(parallel, self.tuned, self.rule.weight_base)


class DualPrompts:
    """Dual prompts in place of every parameter of a module, and of every statistic that it gathers.

    A statistic, such as a batch norm's mean, has a value beside P and one beside P'; it is mixed as they are.

    Args:
        module: its parameters hold the tuned prompt P; each becomes a leaf that starts as its clone (Eq. 5).
        rules: name of a tensor -> how it is dual.
        choose: (name, tensor) -> whether it is made dual; all of floating point where none is given.
    """

    def __init__(
        self,
        module: nn.Module,
        rules: Callable[[str], Rule],
        choose: Callable[[str, Tensor], bool] = lambda name, tensor: True,
    ) -> None:
        self._parts: dict[str, tuple[DualTensor, Tensor]] = {}
        for full_name, tensor in module.state_dict(keep_vars=True).items():
            if not (tensor.is_floating_point() and choose(full_name, tensor)):
                continue
            path, _, name = full_name.rpartition(".")
            owner = module.get_submodule(path)
            if parametrize.is_parametrized(owner, name):
                continue  # a module that stands in two places
            rule = rules(full_name)
            if not isinstance(tensor, nn.Parameter):
                rule = rule._replace(leaf=ParallelLeaf())  # no optimiser moves a statistic
            part = DualTensor(tensor, rule)
            parametrize.register_parametrization(owner, name, part)
            leaf = owner.parametrizations[name].original  # type: ignore[index, union-attr]
            # Exactly P, not P mixed with itself, whose rounding the inverse would amplify.
            leaf.data.copy_(part.tuned)
            self._parts[full_name] = part, leaf

    @property
    def shown(self) -> Shown:
        """Which prompts the module reads; all of its tensors show the same."""
        part, _ = next(iter(self._parts.values()))
        return part.shown

    def show(self, shown: Shown) -> None:
        """Let the module read these prompts from now on."""
        for part, _ in self._parts.values():
            part.shown = shown

    @contextmanager
    def showing(self, shown: Shown) -> Iterator[None]:
        """`show` for the length of a with block."""
        before = [part.shown for part, _ in self._parts.values()]
        self.show(shown)
        try:
            yield
        finally:
            for (part, _), old in zip(self._parts.values(), before, strict=True):
                part.shown = old

    @property
    def names(self) -> list[str]:
        """Of all tensors that are dual."""
        return list(self._parts)

    @property
    def share(self) -> float:
        """The weight of P' in what the first of the tensors shows now."""
        part, _ = next(iter(self._parts.values()))
        return part.rule.share_of(part.shown)

    def share_base(self, shares: Mapping[str, float] | None) -> None:
        """Let base classes see these weights of P', by tensor, from now on; None: what the rules say."""
        for name, (part, _) in self._parts.items():
            part.rule = part.rule._replace(share=None if shares is None else shares[name])

    @contextmanager
    def mixed(self, w: float | Mapping[str, float]) -> Iterator[None]:
        """Show w P' + (1 - w) P, whatever the rules say, for the length of a with block.

        Args:
            w: for all tensors, or by their names.
        """
        rules = [part.rule for part, _ in self._parts.values()]
        for name, (part, _) in self._parts.items():
            own = w[name] if isinstance(w, Mapping) else w
            part.rule = part.rule._replace(weight_new=own)
        try:
            with self.showing("new"):
                yield
        finally:
            for (part, _), rule in zip(self._parts.values(), rules, strict=True):
                part.rule = rule

    def tensors(self, shown: Shown) -> dict[str, Tensor]:
        """What every tensor is under ``shown``, by name."""
        with torch.no_grad(), self.showing(shown):
            return {name: part(leaf).detach().clone() for name, (part, leaf) in self._parts.items()}

    @contextmanager
    def replaced(self, parallel: Mapping[str, Tensor]) -> Iterator[None]:
        """Other tensors in the place of P', by name, for the length of a with block."""
        leaves = {name: leaf.detach().clone() for name, (_, leaf) in self._parts.items()}
        try:
            for name, (part, leaf) in self._parts.items():
                leaf.data.copy_(part.right_inverse(parallel[name].reshape(leaf.shape)))
            yield
        finally:
            for name, (_, leaf) in self._parts.items():
                leaf.data.copy_(leaves[name])

    def fingerprint(self) -> str:
        """SHA-1 of P, all tensors of it."""
        digest = hashlib.sha1()
        for part, _ in self._parts.values():
            digest.update(part.tuned.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def reweight(self, stored: Callable[[str], Rule]) -> None:
        """Turn leaves that were ``stored`` under other weights into leaves under the present ones.

        Args:
            stored: name of a tensor -> how it was dual then.
        """
        for name, (part, leaf) in self._parts.items():
            before, now = stored(name).weight_base, part.rule.weight_base
            if before != now:
                parallel = part.rule.leaf.parallel(leaf, part.tuned, before)
                leaf.copy_(part.rule.leaf.store(parallel, part.tuned, now))
