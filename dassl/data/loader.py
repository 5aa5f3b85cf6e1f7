"""Loaders: batches of a data set's images."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dassl.config import CfgNode, complete
from dassl.data.cache import ImageCache
from dassl.data.datasets import Datum
from dassl.data.samplers import build_sampler
from dassl.data.wrapper import DatasetWrapper, Transform
from dassl.utils import usable_cores

logger = logging.getLogger(__name__)

_MOST_WORKERS = 16  # unless more are asked for
_FORKS = sys.platform == "linux"  # elsewhere a process takes seconds to start, and shares no memory


def num_workers(cfg: CfgNode) -> int:
    """Processes that load images: ``cfg.DATALOADER.NUM_WORKERS``, but at most one per CPU core of this run.

    -1 means one per core, at most 16; none where processes cannot be forked.

    Raises:
        ValueError: the setting is below -1.
    """
    wanted = cfg.DATALOADER.NUM_WORKERS
    if wanted < -1:
        raise ValueError(f"DATALOADER.NUM_WORKERS must be -1 (one per CPU core) or more, got {wanted}")
    if wanted == -1:
        wanted = _MOST_WORKERS if _FORKS else 0
    return min(wanted, usable_cores())


class _Loader(DataLoader[Any]):
    """Tells its data set when a pass begins."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if isinstance(self.dataset, DatasetWrapper):
            self.dataset.before_pass()
        return super().__iter__()


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Transform | Sequence[Transform] | None = None,
    is_train: bool = True,
    dataset_wrapper: Callable[..., Dataset[Any]] | None = None,
    cache: ImageCache | None = None,
) -> DataLoader[Any]:
    """A loader of dicts of batched tensors (see ``DatasetWrapper``).

    A training loader drops the incomplete last batch under ``DATALOADER.TRAIN_X.DROP_LAST``, unless it is the
    only one.

    Raises:
        ValueError: there are no images, or the sampler finds no batch in them.
    """
    if not data_source:
        raise ValueError("A data loader needs at least one image")
    complete(cfg)
    sampler = build_sampler(sampler_type, cfg, data_source, batch_size, n_domain, n_ins)
    drop_last = is_train and cfg.DATALOADER.TRAIN_X.DROP_LAST and len(data_source) >= batch_size
    if dataset_wrapper is None:
        dataset: Dataset[Any] = DatasetWrapper(cfg, data_source, tfm, is_train, cache)
    else:
        dataset = dataset_wrapper(cfg, data_source, transform=tfm, is_train=is_train)

    workers = min(num_workers(cfg), math.ceil(len(data_source) / batch_size))  # each loads whole batches
    loader = _Loader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        # A forked process shares the memory of decoded images.
        multiprocessing_context="fork" if workers and _FORKS else None,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )
    if len(loader) == 0:
        raise ValueError(f"{sampler_type} finds no batch of {batch_size} in {len(data_source)} images")
    if drop_last and (dropped := len(data_source) % batch_size):
        logger.warning(
            "Each epoch leaves out %d of %d training images, the incomplete last batch of %d "
            "(DATALOADER.TRAIN_X.DROP_LAST False keeps them)",
            dropped, len(data_source), batch_size,
        )  # fmt: skip
    return loader


class _EveryNth(Sampler[list[int]]):
    """Batches ``first``, ``first + step``, ... of a batch sampler."""

    def __init__(self, batches: Iterable[list[int]], first: int, step: int) -> None:
        self.batches, self.first, self.step = batches, first, step

    def __iter__(self) -> Iterator[list[int]]:
        return islice(self.batches, self.first, None, self.step)


def every_nth_batch(batches: Iterable[Any], first: int, step: int) -> Iterable[Any]:
    """Batches ``first``, ``first + step``, ... of a list or a loader, which loads no others."""
    if not isinstance(batches, DataLoader) or batches.batch_sampler is None:
        return islice(batches, first, None, step)
    return _Loader(
        batches.dataset,
        batch_sampler=_EveryNth(batches.batch_sampler, first, step),
        num_workers=batches.num_workers,
        collate_fn=batches.collate_fn,
        multiprocessing_context=batches.multiprocessing_context,
        pin_memory=batches.pin_memory,
    )
