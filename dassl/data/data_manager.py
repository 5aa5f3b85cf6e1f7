"""Data set, transforms and loaders of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from dassl.config import CfgNode, complete
from dassl.data.cache import ImageCache
from dassl.data.datasets import Datum, build_dataset
from dassl.data.loader import build_data_loader, num_workers
from dassl.data.transforms import build_transform
from dassl.data.wrapper import DatasetWrapper, Transform

__all__ = ["DataManager", "DatasetWrapper", "build_data_loader", "num_workers"]

logger = logging.getLogger(__name__)


class DataManager:
    """The data set ``cfg.DATASET.NAME`` with its loaders.

    Args:
        cfg: the whole configuration.
        custom_tfm_train: transform (or list of transforms) instead of the one that ``cfg.INPUT`` describes.
        custom_tfm_test: the same for validation and test.
        dataset_wrapper: class instead of ``DatasetWrapper``.

    Attributes:
        dataset, train_loader_x, train_loader_u (or None), val_loader (or None), test_loader, num_classes,
        num_source_domains, lab2cname, tfm_train, tfm_test, cache.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Transform | Sequence[Transform] | None = None,
        custom_tfm_test: Transform | Sequence[Transform] | None = None,
        dataset_wrapper: Callable[..., Dataset[Any]] | None = None,
    ) -> None:
        complete(cfg)
        self.cfg = cfg
        self.dataset = build_dataset(cfg)
        self.tfm_train = build_transform(cfg, True) if custom_tfm_train is None else custom_tfm_train
        self.tfm_test = build_transform(cfg, False) if custom_tfm_test is None else custom_tfm_test
        self.cache = ImageCache(cfg.DATALOADER.CACHE_MB, cfg.INPUT.EXIF_ORIENTATION)
        self._wrapper = dataset_wrapper
        if (workers := num_workers(cfg)) < cfg.DATALOADER.NUM_WORKERS:
            wanted = cfg.DATALOADER.NUM_WORKERS
            logger.info("DATALOADER.NUM_WORKERS is %d, but %d is used: as many as CPU cores", wanted, workers)

        options = cfg.DATALOADER
        options_u = options.TRAIN_X if options.TRAIN_U.SAME_AS_X else options.TRAIN_U
        self.train_loader_x = self._train_loader(self.dataset.train_x, options.TRAIN_X)
        self.train_loader_u = (
            self._train_loader(self.dataset.train_u, options_u) if self.dataset.train_u else None
        )
        self.val_loader = self.build_test_loader(self.dataset.val) if self.dataset.val else None
        self.test_loader = self.build_test_loader(self.dataset.test)

        self.num_classes = self.dataset.num_classes
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self.lab2cname = self.dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    def _train_loader(self, data_source: Sequence[Datum], options: CfgNode) -> DataLoader[Any]:
        return build_data_loader(
            self.cfg, options.SAMPLER, data_source, options.BATCH_SIZE, options.N_DOMAIN, options.N_INS,
            self.tfm_train, True, self._wrapper, self.cache,
        )  # fmt: skip

    def build_test_loader(self, data_source: Sequence[Datum]) -> DataLoader[Any]:
        """A loader of ``data_source`` in order, through the test transform."""
        options = self.cfg.DATALOADER.TEST
        return build_data_loader(
            self.cfg, options.SAMPLER, data_source, options.BATCH_SIZE,
            tfm=self.tfm_test, is_train=False, dataset_wrapper=self._wrapper, cache=self.cache,
        )  # fmt: skip

    def set_epoch(self, epoch: int) -> None:
        """Fix the random draws of the coming epoch."""
        for loader in (self.train_loader_x, self.train_loader_u):
            if loader is not None and isinstance(loader.dataset, DatasetWrapper):
                loader.dataset.set_epoch(epoch)

    def load_item(self, item: Datum, seed: int | None = None, is_train: bool = True) -> torch.Tensor:
        """The image of any ``Datum`` through the memory and the train (or test) transform, [3, H, W].

        See ``DatasetWrapper.load_item``; a custom ``dataset_wrapper`` must be a subclass of it.
        """
        loader = self.train_loader_x if is_train else self.test_loader
        assert isinstance(loader.dataset, DatasetWrapper)
        return loader.dataset.load_item(item, seed)

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Log the name and the sizes of the data set."""
        sizes = {
            "train_x": self.dataset.train_x,
            "train_u": self.dataset.train_u,
            "val": self.dataset.val,
            "test": self.dataset.test,
        }
        counts = ", ".join(f"{name} {len(items):,}" for name, items in sizes.items() if items)
        logger.info("Data set %s: %d classes; images: %s", self.dataset.name, self.num_classes, counts)
