"""Images that look alike though their files differ: in train and test they make figures lie."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from dassl.utils import progress, usable_cores

MOST_BITS = 4  # of 64 in which perceptual hashes of one picture may differ: resized, saved anew
_DRAFT = (256, 256)  # pixels; JPEG decodes to about this at once, and the hash looks at 32 x 32
_ROWS = 1024  # compared with all others at a time


class Pair(NamedTuple):
    """Two images that look alike."""

    first: str
    second: str
    bits: int  # in which their hashes differ


def perceptual_hashes(paths: Sequence[str]) -> np.ndarray:
    """[N], uint64: pHash of each image. Files that are no images must not be among them.

    Raises:
        ImportError: the package ImageHash is not installed.
    """
    import imagehash  # here: it takes a second, and runs don't need it

    def packed(path: str) -> int:
        with Image.open(path) as image:
            image.draft("RGB", _DRAFT)
            bits = imagehash.phash(ImageOps.exif_transpose(image).convert("RGB")).hash
        return int(np.packbits(bits).view(np.uint64)[0])

    with ThreadPoolExecutor(usable_cores()) as pool, progress("hashes", len(paths)) as bar:
        found = []
        for value in pool.map(packed, paths):
            found.append(value)
            bar.update()
    return np.array(found, dtype=np.uint64)


def near_duplicates(first: Sequence[str], second: Sequence[str]) -> list[Pair]:
    """Of each image of ``second`` that looks like one of ``first`` the most similar one.

    Raises:
        ImportError: see `perceptual_hashes`.
    """
    if not first or not second:
        return []
    ours, theirs = perceptual_hashes(first), perceptual_hashes(second)
    pairs = []
    for start in range(0, len(theirs), _ROWS):
        bits = np.bitwise_count(theirs[start : start + _ROWS, None] ^ ours[None])
        nearest = bits.argmin(axis=1)
        for row, column in enumerate(nearest.tolist()):
            if (different := int(bits[row, column])) <= MOST_BITS:
                pairs.append(Pair(first[column], second[start + row], different))
    return pairs
