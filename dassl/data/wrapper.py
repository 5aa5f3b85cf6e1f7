"""Images of a data set, transformed: what a loader makes its batches of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from dassl.config import CfgNode, complete
from dassl.data.cache import ImageCache, ResizedImages
from dassl.data.datasets import Datum
from dassl.data.transforms import Compose, functional, seedable

Transform = Callable[..., Any]


class DatasetWrapper(Dataset[dict[str, Any]]):
    """Images of a list of ``Datum``, transformed.

    An item is a dict of ``label``, ``domain``, ``impath``, ``index`` and the transformed image [3, H, W] as
    ``img`` (``img``, ``img2``, ... when ``transform`` is a list). In training with K_TRANSFORMS above 1,
    each is a list of so many views. With RETURN_IMG0, ``img0`` is the image resized to INPUT.SIZE without
    augmentation.

    Once ``set_epoch`` has been called, the random draws of an image depend on ``cfg.SEED``, the epoch and the
    index only, not on the process that loads it. Before, as in a loader of somebody's own that knows nothing
    of epochs, they come from torch's global random numbers.

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
        complete(cfg)
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.cache = ImageCache(0, cfg.INPUT.EXIF_ORIENTATION) if cache is None else cache
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        if self.k_tfm < 1:
            raise ValueError(f"DATALOADER.K_TRANSFORMS must be at least 1, got {self.k_tfm}")
        if self.k_tfm > 1 and transform is None:
            raise ValueError(f"DATALOADER.K_TRANSFORMS is {self.k_tfm}, but there is no transform to repeat")
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        self._pass: tuple[int, int] | None = None  # epoch, and how often before in it; None: not known
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

    def set_epoch(self, epoch: int, repeat: int = 0) -> None:
        """Fix the random draws of the coming pass: the one in ``epoch`` after ``repeat`` others in it."""
        self._pass = (epoch, repeat)
        if self.cfg.SEED < 0:
            # An unseeded run that is resumed has got its own random numbers back by now.
            self.seed = torch.initial_seed()

    @property
    def has_epochs(self) -> bool:
        """Whether ``set_epoch`` has been called."""
        return self._pass is not None

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        return {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": idx,
            **self._views(self._image(idx), self._generator(idx)),
        }

    def _generator(self, idx: int) -> torch.Generator | None:
        """What the image draws from in this pass; None for torch's global random numbers."""
        if self._pass is None:
            return None
        epoch, repeat = self._pass
        entropy = [self.seed, epoch, idx, repeat] if repeat else [self.seed, epoch, idx]
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed))

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

    def _views(self, img0: Image.Image, generator: torch.Generator | None) -> dict[str, Any]:
        views: dict[str, Any] = {} if self._rest else {"img": img0}
        for key, transform in self._rest.items():
            views[key] = self._transform_image(transform, img0, generator)
        if self.return_img0:
            views["img0"] = self.to_tensor(img0)
        return views

    def _transform_image(
        self, tfm: Transform, img0: Image.Image, generator: torch.Generator | None = None
    ) -> Any:
        """One view, or a list of K_TRANSFORMS; Dassl's name, which subclasses of other projects call."""
        views = [seedable(tfm)(img0, generator=generator) for _ in range(self.k_tfm)]
        return views if self.k_tfm > 1 else views[0]

    def to_tensor(self, img0: Image.Image) -> torch.Tensor:
        """The image resized to INPUT.SIZE without augmentation, [3, H, W]."""
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
