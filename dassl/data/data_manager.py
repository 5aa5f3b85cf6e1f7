"""Data sets, transforms and loaders of a run."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from dassl.data.cache import ImageCache, ResizedImages
from dassl.data.datasets import Datum, build_dataset
from dassl.data.samplers import build_sampler
from dassl.data.transforms import Compose, build_transform, functional, seedable
from dassl.utils import usable_cores

logger = logging.getLogger(__name__)

Transform = Callable[..., Any]

_MOST_WORKERS = 16  # unless more are asked for
_FORKS = sys.platform == "linux"  # elsewhere a process takes seconds to start, and shares no memory


class DatasetWrapper(Dataset[dict[str, Any]]):
    """Images of a list of ``Datum``, transformed, with the random draws of each fixed by a seed of its own.

    An item is a dict of ``label``, ``domain``, ``impath``, ``index`` and the transformed image [3, H, W] as
    ``img`` (``img``, ``img2``, ... when ``transform`` is a list). In training with K_TRANSFORMS above 1,
    each is a list of so many views. With RETURN_IMG0, ``img0`` is the image resized to INPUT.SIZE without
    augmentation.

    The draws depend on ``cfg.SEED``, ``epoch`` and the index only, not on the process that loads the image.

    Images are kept in memory as far as ``cache`` allows: resized, where the transform begins with that, in
    the first pass over them; else decoded, before the first pass over training images.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: Sequence[Datum],
        transform: Transform | Sequence[Transform] | None = None,
        is_train: bool = False,
        cache: ImageCache | None = None,
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.cache = ImageCache(0) if cache is None else cache
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        if self.k_tfm < 1:
            raise ValueError(f"DATALOADER.K_TRANSFORMS must be at least 1, got {self.k_tfm}")
        if self.k_tfm > 1 and transform is None:
            raise ValueError(f"DATALOADER.K_TRANSFORMS is {self.k_tfm}, but there is no transform to repeat")
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        self.epoch = 0
        self.seed = cfg.SEED if cfg.SEED >= 0 else torch.initial_seed()
        self._transforms = {
            "img" if i == 0 else f"img{i + 1}": seedable(t) for i, t in enumerate(_as_list(transform))
        }
        self._fixed, self._rest = self._split()
        self._resized: ResizedImages | None = None

    def _split(self) -> tuple[Compose | None, dict[str, Transform]]:
        """The steps that give the same image every time, if there are any, and what follows them."""
        transform = self._transforms.get("img")
        if len(self._transforms) == 1 and isinstance(transform, Compose) and not self.return_img0:
            fixed, rest = transform.split()
            if len(fixed):
                return fixed, {"img": rest}
        return None, self._transforms

    def before_pass(self) -> None:
        """Make room for images, or decode them, in the process that the loader's processes come from."""
        if self._fixed is None:
            if self.is_train:
                self.cache.prefetch(item.impath for item in self.data_source)
        elif self._resized is None:
            self._resized = self.cache.resized(len(self.data_source), self.cfg.INPUT.SIZE)

    def set_epoch(self, epoch: int) -> None:
        """Fix the random draws of the coming epoch."""
        self.epoch = epoch
        if self.cfg.SEED < 0:
            # An unseeded run that is resumed has got its own random numbers back by now.
            self.seed = torch.initial_seed()

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        seed = np.random.SeedSequence([self.seed, self.epoch, idx]).generate_state(1, np.uint64)[0]
        return {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": idx,
            **self._views(self._image(idx), int(seed)),
        }

    def load_item(self, item: Datum, seed: int | None = None) -> torch.Tensor:
        """The image of any ``Datum``, through this wrapper's memory and (first) transform, [3, H, W].

        Args:
            item: the image; it need not be one of ``data_source``.
            seed: seed of the random draws, 0..2^64-1; None draws from torch's global random numbers.
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return self._transforms["img"](self.cache.load(item.impath), generator=generator)

    def _image(self, idx: int) -> Image.Image:
        """What the random steps start from: the image, resized where that is always the same."""
        path = self.data_source[idx].impath
        if self._fixed is None:
            return self.cache.load(path)
        img = None if self._resized is None else self._resized.load(idx)
        if img is None:
            img = self._fixed(self.cache.load(path))
            if self._resized is not None:
                self._resized.store(idx, img)
        return img

    def _views(self, img0: Image.Image, seed: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        views: dict[str, Any] = {} if self._rest else {"img": img0}
        for key, transform in self._rest.items():
            several = [transform(img0, generator=generator) for _ in range(self.k_tfm)]
            views[key] = several if self.k_tfm > 1 else several[0]
        if self.return_img0:
            views["img0"] = self._unaugmented(img0)
        return views

    def _unaugmented(self, img0: Image.Image) -> torch.Tensor:
        options = self.cfg.INPUT
        interpolation = functional.INTERPOLATION_MODES[options.INTERPOLATION]
        img = functional.to_tensor(functional.resize(img0, options.SIZE, interpolation))
        if "normalize" in options.TRANSFORMS:
            img = functional.normalize(img, options.PIXEL_MEAN, options.PIXEL_STD)
        return img


def _as_list(transform: Transform | Sequence[Transform] | None) -> list[Transform]:
    if transform is None:
        return []
    return [transform] if callable(transform) else list(transform)


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
        self.cfg = cfg
        self.dataset = build_dataset(cfg)
        self.tfm_train = build_transform(cfg, True) if custom_tfm_train is None else custom_tfm_train
        self.tfm_test = build_transform(cfg, False) if custom_tfm_test is None else custom_tfm_test
        self.cache = ImageCache(cfg.DATALOADER.CACHE_MB)
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
