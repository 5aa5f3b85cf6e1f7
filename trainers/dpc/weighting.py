"""Weighting-decoupling (Sec. 3.4 of the DPC paper) on any tensors of any prompt learner.

P tuned prompt (frozen), P' parallel prompt (tuned on base classes), w_b and w_n the two weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Variant = Literal["paper", "released"]
# Which prompt a parametrised tensor shows: P' (training), the mix for base classes, the mix for new
# classes, or P itself (the negative sampler's query).
Mode = Literal["parallel", "base", "new", "tuned"]


def weight(parallel: Tensor, tuned: Tensor, w: float) -> Tensor:
    """Mixed prompt ``w P' + (1 - w) P`` (Eq. 12 with w_b, Eq. 13 with w_n)."""
    return w * parallel + (1 - w) * tuned


def decouple(mixed: Tensor, tuned: Tensor, w: float) -> Tensor:
    """Parallel prompt ``(P~ - (1 - w) P) / w``, the inverse of `weight` (the paper's F^-1)."""
    return (mixed - (1 - w) * tuned) / w


def _scale_gradient(x: Tensor, factor: float) -> Tensor:
    """The same values; gradients through it are multiplied by ``factor``."""
    return x.detach() + factor * (x - x.detach())


class DualPrompt(nn.Module):
    """Parametrisation of one tensor: the learner reads one of the two prompts or a mix of them.

    ``paper``: the leaf is the mixed prompt P~_b. ``released``: the leaf is P', its gradient divided by
    w_b, and base classes see P' alone; that is what the authors' code computes, since its frozen
    prompt shares storage with the leaf.
    """

    tuned: Tensor

    def __init__(self, tuned: Tensor, weight_base: float, weight_new: float, variant: Variant) -> None:
        super().__init__()
        self.register_buffer("tuned", tuned.detach().clone(), persistent=False)
        self.weight_base, self.weight_new, self.variant = weight_base, weight_new, variant
        self.mode: Mode = "parallel"

    def forward(self, leaf: Tensor) -> Tensor:
        if self.mode == "tuned":
            return self.tuned
        if self.mode == "base":
            return leaf
        if self.mode == "new":
            return weight(self.parallel(leaf), self.tuned, self.weight_new)
        if self.variant == "released":
            return _scale_gradient(leaf, 1 / self.weight_base)
        return self.parallel(leaf)

    def right_inverse(self, parallel: Tensor) -> Tensor:
        """The leaf that stands for ``parallel``."""
        return parallel if self.variant == "released" else weight(parallel, self.tuned, self.weight_base)

    def parallel(self, leaf: Tensor) -> Tensor:
        """P' of a leaf."""
        return leaf if self.variant == "released" else decouple(leaf, self.tuned, self.weight_base)


class DualStatistic(nn.Module):
    """Parametrisation of a buffer, such as a batch norm's mean: one value beside P', one beside P."""

    tuned: Tensor

    def __init__(self, tuned: Tensor) -> None:
        super().__init__()
        self.register_buffer("tuned", tuned.clone(), persistent=False)
        self.mode: Mode = "parallel"

    def forward(self, leaf: Tensor) -> Tensor:
        return self.tuned if self.mode in ("new", "tuned") else leaf


class DualPrompts:
    """Dual prompts in place of every parameter of a module, dual statistics in place of its buffers.

    Args:
        module: its parameters hold the tuned prompt P; each becomes a leaf that starts as its clone (Eq. 5).
        weights: name of a parameter -> its (w_b in (0, 1], w_n in [0, 1]).
    """

    def __init__(
        self, module: nn.Module, weights: Callable[[str], tuple[float, float]], variant: Variant
    ) -> None:
        self._parts: list[DualPrompt | DualStatistic] = []
        self._leaves: list[tuple[DualPrompt, Tensor]] = []
        for full_name, tensor in module.state_dict(keep_vars=True).items():
            if not tensor.is_floating_point():
                continue
            path, _, name = full_name.rpartition(".")
            owner = module.get_submodule(path)
            is_prompt = isinstance(tensor, nn.Parameter)
            part = DualPrompt(tensor, *weights(full_name), variant) if is_prompt else DualStatistic(tensor)
            parametrize.register_parametrization(owner, name, part)
            leaf = owner.parametrizations[name].original  # type: ignore[index, union-attr]
            # Exactly P, not P mixed with itself, whose rounding the inverse would amplify.
            leaf.data.copy_(part.tuned)
            self._parts.append(part)
            if isinstance(part, DualPrompt):
                self._leaves.append((part, leaf))

    def show(self, mode: Mode) -> None:
        """Let the module read the prompts of ``mode`` from now on."""
        for part in self._parts:
            part.mode = mode

    @contextmanager
    def showing(self, mode: Mode) -> Iterator[None]:
        """`show` for the length of a with block."""
        before = [part.mode for part in self._parts]
        self.show(mode)
        try:
            yield
        finally:
            for part, old in zip(self._parts, before, strict=True):
                part.mode = old

    def fingerprint(self) -> str:
        """SHA-1 of P, all tensors of it."""
        digest = hashlib.sha1()
        for part in self._parts:
            digest.update(part.tuned.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def reweight(self, stored_weight: float) -> None:
        """Turn leaves that were stored under w_b = ``stored_weight`` into leaves under the present w_b."""
        for part, leaf in self._leaves:
            if part.variant == "paper" and stored_weight != part.weight_base:
                parallel = decouple(leaf, part.tuned, stored_weight)
                leaf.copy_(weight(parallel, part.tuned, part.weight_base))
