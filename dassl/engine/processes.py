"""One mini-batch on several processes (``torchrun``): who computes what, and how it comes together.

Every process has the same random numbers, draws the same mini-batch and computes the loss of all of it. What
is expensive, such as image features, goes through `in_shares`: each computes some rows, all get all.

Of every gradient each process then holds a part, and the parts add up to the whole: through `in_shares` a
process reaches the tensors behind its own rows alone; what all compute alike counts once, since each takes
1 / (number of processes) of the loss (`backward`). So it is for any loss, a sum over images or not, and where
nothing is shared at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dassl.data.loader import every_nth_batch
from dassl.utils import get_rng_state, set_rng_state
from dassl.utils.processes import world_size

Batch = TypeVar("Batch", covariant=True)
Result = TypeVar("Result")

_alone = False  # whether this process computes by itself for the time being


class Batches(Sized, Iterable[Batch], Protocol[Batch]):
    """A loader, or a list."""


def connected() -> bool:
    """Whether this process is one of several (see `dassl.engine.runtime.find_runtime`)."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def _by_itself() -> Iterator[None]:
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


# -- a mini-batch ------------------------------------------------------------------------------------------


class _Sum(torch.autograd.Function):
    """The sum over processes; backward, the sum of the parts that each holds of the gradient."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return _sum(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient)


def _sum(part: Tensor) -> Tensor:
    total = part.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def in_shares(encode: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """``encode(rows)``, [B, ...], of which each process computes contiguous rows and all get all.

    All processes must come here together, with the same ``rows``. Gradients reach what ``encode`` uses.

    Args:
        encode: [b, ...] -> [b, ...], each row from its own row alone.
        rows: [B, ...].
    """
    count = rows.shape[0]
    if _alone or not count or not connected():
        return encode(rows)
    rank, processes = dist.get_rank(), dist.get_world_size()
    start, stop = count * rank // processes, count * (rank + 1) // processes
    # A process without rows computes one in vain: all must have the same graph to go back through.
    part = encode(rows[start : max(stop, start + 1)])[: stop - start]
    before, after = (part.new_zeros(n, *part.shape[1:]) for n in (start, count - stop))
    return _Sum.apply(torch.cat([before, part, after]))


def backward(loss: Tensor, parameters: Iterable[Tensor]) -> None:
    """Compute the gradients of a loss that every process has, whole ones on each."""
    if not connected():
        loss.backward()
        return
    (loss / dist.get_world_size()).backward()
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)


# -- an evaluation -----------------------------------------------------------------------------------------


def in_turn(step: Callable[[Any], Result], batches: Batches[Any]) -> Iterator[Result]:
    """``step(batch)`` of each batch, in order. Of N processes each computes every N-th; all get all.

    Args:
        step: gives tensors, in tuples or alone, and plain values; where there are several processes, its
            tensors come out on the CPU.
        batches: the same on all processes.
    """
    if not connected():
        yield from map(step, batches)
        return
    rank, processes = dist.get_rank(), dist.get_world_size()
    own = iter(every_nth_batch(batches, rank, processes))
    for start in range(0, len(batches), processes):
        found: Any = None
        if start + rank < len(batches):
            with _by_itself():
                found = _on_cpu(step(next(own)))
        yield from islice(of_all(found), len(batches) - start)


def _on_cpu(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(_on_cpu, result))
    return result.detach().cpu() if isinstance(result, Tensor) else result


# -- what must be the same everywhere ----------------------------------------------------------------------


def by_main(action: Callable[[], Result]) -> Result:
    """What ``action`` gives on the main process, the only one to run it; the others wait for it."""
    if not connected():
        return action()
    result = [action() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(result)
    return result[0]  # type: ignore[return-value]


def of_all(value: Result) -> list[Result]:
    """Each process's ``value``, by its number."""
    if not connected():
        return [value]
    values = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def agreed(tensor: Tensor) -> Tensor:
    """The main process's ``tensor``: a decision on it must not depend on how each has rounded it."""
    if not connected():
        return tensor
    tensor = tensor.contiguous()
    dist.broadcast(tensor, 0)
    return tensor


def check_same(tensors: Mapping[str, Tensor]) -> None:
    """Raise a ``RuntimeError`` when these are not the same on all processes, but for rounding."""
    for name, tensor in tensors.items() if connected() else ():
        close = torch.allclose(tensor, agreed(tensor.detach().clone()), rtol=1e-3, atol=1e-6)
        if not all(of_all(close)):
            raise RuntimeError(
                f"{name} is not the same on all processes: a step has left out `model_backward`, which sums "
                "their gradients, or has drawn random numbers of its own"
            )


def agree_on_random_numbers() -> None:
    """Go on with the main process's random numbers, seed included. Nobody draws any on a GPU."""
    if connected():
        set_rng_state({**by_main(get_rng_state), "cuda": []})


# -- the end -----------------------------------------------------------------------------------------------


def first_to_fail() -> bool:
    """Whether this process is the first of the run to ask, so that an error of several is said once.

    The question goes to the store that ``torchrun`` keeps, which outlives every process. Where there is none,
    each is the first: an error said twice is better than one that is not said.
    """
    if world_size() == 1:
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=5)
        )
        return store.add(f"dpc/failed/{attempt}", 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return True


def disconnect() -> None:
    """Leave the other processes, at the end of a run."""
    if connected():
        dist.destroy_process_group()
