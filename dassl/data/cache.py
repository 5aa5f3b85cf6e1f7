"""A bounded memory of decoded images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from dassl.utils import progress, read_image

logger = logging.getLogger(__name__)

BYTES_PER_PIXEL = 4  # Pillow stores RGB in four bytes


class ImageCache:
    """Decoded images by path, at most ``limit_mb`` MB (10^6 bytes) of them.

    It is filled by ``prefetch`` alone: filled before the loader's processes are forked, it is shared by all.
    """

    def __init__(self, limit_mb: float) -> None:
        if limit_mb < 0:
            raise ValueError(f"DATALOADER.CACHE_MB must not be negative, got {limit_mb}")
        self.limit = int(limit_mb * 1_000_000)
        self.size = 0
        self._full = False
        self._images: dict[str, Image.Image] = {}

    def load(self, path: str) -> Image.Image:
        """The RGB image at ``path``, from memory or decoded. It must not be changed in place."""
        img = self._images.get(path)
        return read_image(path) if img is None else img

    def prefetch(self, paths: Iterable[str]) -> None:
        """Decode the images that are not in memory yet, in order, until the limit is reached."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._images]
        if not missing or self._full:
            return
        # In slices: the size of an image is known once it is decoded.
        step = 256
        with (
            ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool,
            progress("Decoding", len(missing)) as bar,
        ):
            for start in range(0, len(missing), step):
                part = missing[start : start + step]
                for path, img in zip(part, pool.map(read_image, part), strict=True):
                    if not self._keep(path, img):
                        self._report(len(missing))
                        return
                bar.update(len(part))
        self._report(len(missing))

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
