"""Images that look alike though their files differ: in train and test they make figures lie."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from dassl.utils import progress, usable_cores

BITS = 64  # of a hash
MOST_BITS = 4  # in which perceptual hashes of one picture may differ: resized, saved anew
_DRAFT = (256, 256)  # pixels; JPEG decodes to about this at once, and the hash looks at 32 x 32
_ROWS = 1024  # compared with all others at a time


class Pair(NamedTuple):
    """Two images that look alike."""

    first: str
    second: str
    bits: int  # in which their hashes differ


def perceptual_hashes(paths: Sequence[str]) -> np.ndarray:
    """[N, 64], pHash of each image, its bits as -1 and 1. Files that are no images must not be among them.

    Raises:
        ImportError: the package ImageHash is not installed.
    """
    import imagehash  # here: it takes a second, and runs don't need it

    def signs(path: str) -> np.ndarray:
        with Image.open(path) as image:
            image.draft("RGB", _DRAFT)
            bits = imagehash.phash(ImageOps.exif_transpose(image).convert("RGB")).hash
        return np.where(bits.ravel(), 1, -1).astype(np.float32)

    with ThreadPoolExecutor(usable_cores()) as pool, progress("hashes", len(paths)) as bar:
        found = []
        for value in pool.map(signs, paths):
            found.append(value)
            bar.update()
    return np.stack(found)


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
        agreement = theirs[start : start + _ROWS] @ ours.T  # equal bits minus different ones
        nearest = agreement.argmax(axis=1)
        for row, column in enumerate(nearest.tolist()):
            if (different := (BITS - int(agreement[row, column])) // 2) <= MOST_BITS:
                pairs.append(Pair(first[column], second[start + row], different))
    return pairs
