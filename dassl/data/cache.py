"""A bounded memory of images, so that each is decoded once in a run."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from dassl.utils import progress, read_image, usable_cores

logger = logging.getLogger(__name__)

BYTES_PER_PIXEL = 4  # Pillow stores RGB in four bytes


class ImageCache:
    """Decoded images by path, at most ``limit_mb`` MB (10^6 bytes) of them.

    It is filled by ``prefetch`` alone: filled before the loader's processes are forked, it is shared by all.
    Where processes are started afresh instead, they decode for themselves. ``upright`` turns photos as their
    EXIF orientation says.
    """

    def __init__(self, limit_mb: float, upright: bool = False) -> None:
        if limit_mb < 0:
            raise ValueError(f"DATALOADER.CACHE_MB must not be negative, got {limit_mb}")
        self.limit = int(limit_mb * 1_000_000)
        self.upright = upright
        self.size = 0
        self._full = False
        self._images: dict[str, Image.Image] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": {}}  # sending gigabytes to a process costs more than decoding

    def load(self, path: str) -> Image.Image:
        """The RGB image at ``path``, from memory or decoded. It must not be changed in place."""
        img = self._images.get(path)
        return self._decode(path) if img is None else img

    def _decode(self, path: str) -> Image.Image:
        return read_image(path, upright=True) if self.upright else read_image(path)

    def prefetch(self, paths: Iterable[str]) -> None:
        """Decode the images that are not in memory yet, in order, until the limit is reached."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._images]
        if not missing or self._full or not self.limit:
            return
        # In slices: the size of an image is known once it is decoded.
        step = 256
        with (
            ThreadPoolExecutor(min(usable_cores(), 16)) as pool,
            progress("Decoding", len(missing)) as bar,
        ):
            for start in range(0, len(missing), step):
                part = missing[start : start + step]
                for path, img in zip(part, pool.map(self._decode, part), strict=True):
                    if not self._keep(path, img):
                        self._report(len(missing))
                        return
                bar.update(len(part))
        self._report(len(missing))

    def resized(self, count: int, size: Sequence[int]) -> ResizedImages:
        """Room for ``count`` images of ``size`` = (H, W), or for as many of them as the limit allows."""
        room = max(0, (self.limit - self.size) // ResizedImages.bytes_each(size))
        try:
            images = ResizedImages(min(count, room), size)
        except OSError as error:
            logger.warning(
                "No memory for %d resized images (%s): they are decoded in every pass. A smaller "
                "DATALOADER.CACHE_MB, now %d, may help", min(count, room), error, self.limit / 1e6,
            )  # fmt: skip
            images = ResizedImages(0, size)
        self.size += len(images) * images.bytes_each(size)
        return images

    def _keep(self, path: str, img: Image.Image) -> bool:
        size = img.width * img.height * BYTES_PER_PIXEL
        if self.size + size > self.limit:
            self._full = True
            return False
        self._images[path] = img
        self.size += size
        return True

    def _report(self, wanted: int) -> None:
        logger.info("%d decoded images in memory (%.0f MB), %d wanted", len(self), self.size / 1e6, wanted)
        if self._full:
            logger.info("The other images are decoded in every epoch: DATALOADER.CACHE_MB sets the limit")

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, path: str) -> bool:
        return path in self._images


class ResizedImages:
    """RGB images of one size (H, W) by number 0..count-1, each kept when it is first stored.

    The memory is shared with the processes that are forked later, which can store images, too. It is taken
    from the machine as it is filled. A process that is started afresh has no part in it.
    """

    def __init__(self, count: int, size: Sequence[int]) -> None:
        self.count, self.size = count, tuple(size)
        self._map()

    @staticmethod
    def bytes_each(size: Sequence[int]) -> int:
        """What an image of ``size`` takes: three bytes a pixel, and one that says that it is there."""
        return size[0] * size[1] * 3 + 1

    def _map(self) -> None:
        memory = mmap.mmap(-1, max(1, self.count * self.bytes_each(self.size)))
        self._there = np.frombuffer(memory, np.uint8, self.count)
        pixels = np.frombuffer(memory, np.uint8, self.count * (self.bytes_each(self.size) - 1), self.count)
        self._pixels = pixels.reshape(self.count, *self.size, 3)

    def __getstate__(self) -> dict[str, Any]:
        return {"count": 0, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def load(self, number: int) -> Image.Image | None:
        """The image of this number; None if it has not been stored."""
        if number >= self.count or not self._there[number]:
            return None
        return Image.fromarray(self._pixels[number])

    def store(self, number: int, img: Image.Image) -> None:
        """Keep an image, if there is room for its number; one of another size or mode is not kept."""
        if number < self.count and img.mode == "RGB" and (img.height, img.width) == self.size:
            self._pixels[number] = np.asarray(img)
            self._there[number] = 1  # last: a process that is killed before leaves nothing half

    def __len__(self) -> int:
        return self.count
