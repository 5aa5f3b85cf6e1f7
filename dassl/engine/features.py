"""Evaluation in two halves: image features, then logits. A frozen image tower's features are kept on disk.

Shape legend: N images of an evaluation, B of a batch, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import PIL
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

import dassl.utils.files
from dassl.config import CfgNode as CN
from dassl.data import DatasetWrapper, build_data_loader
from dassl.data.transforms import augment, functional, is_fixed
from dassl.engine.processes import by_main, in_turn, of_all
from dassl.engine.runtime import Precision
from dassl.engine.trainer import TrainerX
from dassl.utils import atomic_path, progress, user_cache

logger = logging.getLogger(__name__)


class FeatureTrainer(TrainerX):
    """A trainer whose logits are a function of image features.

    Where nothing that is tuned enters the image tower, a set of images is encoded once for all runs: the
    features are kept in the user's cache (``TEST.CACHE_FEATURES``).
    """

    precision = Precision("fp32")

    def __init__(self, cfg: CN, data_manager: Any = None) -> None:
        self._of_this_run: dict[Path, tuple[Tensor, Tensor]] = {}  # stamps and features, by file
        super().__init__(cfg, data_manager)

    def frozen_image_tower(self) -> nn.Module | None:
        """The image tower, if image features depend on nothing else; None if they do."""
        raise NotImplementedError

    def feature_code(self) -> Sequence[ModuleType]:
        """The modules whose code image features depend on, beside transforms and decoding."""
        raise NotImplementedError

    def test_image_features(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to [B, E], float32 and L2-normalised."""
        raise NotImplementedError

    def test_logits(self, features: Tensor) -> Tensor:
        """Image features [B, E] to logits [B, C] of the running test."""
        raise NotImplementedError

    def model_inference(self, images: Tensor) -> Tensor:
        """Logits [B, C] of the running test."""
        return self.test_logits(self.test_image_features(images))

    def test_batches(self, loader: Any) -> Any:
        """Batches of ``features`` instead of images, where these can be kept."""
        tower = self.frozen_image_tower() if self.cfg.TEST.CACHE_FEATURES and self._can_keep(loader) else None
        if tower is None:
            return loader
        images = loader.dataset.data_source
        try:
            features = self._features(loader, tower)
        except OSError:  # the loader says which image is missing
            return loader
        starts = range(0, len(images), loader.batch_size)
        parts = [slice(start, start + loader.batch_size) for start in starts]
        return [
            {
                "features": features[part],
                "label": torch.tensor([item.label for item in images[part]]),
                "impath": [item.impath for item in images[part]],
            }
            for part in parts
        ]

    def test_step(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        if "features" not in batch:
            return super().test_step(batch)
        return self.test_logits(self._to_device(batch["features"])), self._to_device(batch["label"])

    def _can_keep(self, loader: Any) -> bool:
        """Whether these are features of ``frozen_image_tower``, of images that can be told from others."""
        # A method that computes otherwise must say anew that its tower is frozen.
        said = _place(type(self), "frozen_image_tower")
        steps = ("model_inference", "test_image_features", "parse_batch_test", "test_step")
        if any(_place(type(self), step) < said for step in steps):
            return False
        dataset = loader.dataset
        return (
            type(dataset) is DatasetWrapper
            and is_fixed(dataset.transform)
            and isinstance(loader.sampler, SequentialSampler)
        )

    def _features(self, loader: Any, tower: nn.Module) -> Tensor:
        """Features [N, E] of all images: those of this run, those on the disk, or new ones.

        Raises:
            OSError: an image is not there.
        """
        dataset = loader.dataset
        computed_by = [
            fingerprint(tower),
            code_hash(tuple(self.feature_code())),
            repr(dataset.transform),
            self.precision.name,
            self.device.type,
            torch.__version__,
            PIL.__version__,
            *(["upright"] if self.cfg.INPUT.EXIF_ORIENTATION else []),
        ]
        file = FeatureFile(
            user_cache() / "features", computed_by, [item.impath for item in dataset.data_source]
        )
        stamps, features = self._of_this_run.get(file.path, (None, None))
        if stamps is None or not torch.equal(stamps, file.stamps):
            features = file.read()
        known = all(of_all(features is not None))
        if features is None or not known:
            features = self._encode(loader)
            by_main(lambda: file.write(features))
        else:
            _draw_as_a_pass_does()
        self._of_this_run[file.path] = file.stamps, features
        return features

    def _encode(self, loader: Any) -> Tensor:
        """Features [N, E] of all images as they are on the disk, on the CPU."""
        dataset = loader.dataset
        # Not through the loader itself: its memory may hold images as they were before.
        fresh = build_data_loader(
            self.cfg, data_source=dataset.data_source, batch_size=loader.batch_size, tfm=dataset.transform,
            is_train=False,
        )  # fmt: skip
        features = []
        with progress("Encoding images", len(fresh)) as bar:
            for part in in_turn(
                lambda batch: self.test_image_features(self.parse_batch_test(batch)[0]), fresh
            ):
                features.append(part)
                bar.update()
        return torch.cat(features).cpu()


def _draw_as_a_pass_does() -> None:
    """Take from the random numbers what a pass over a loader takes: the training to come depends on them."""
    iter(DataLoader(TensorDataset(torch.zeros(1))))


def _place(cls: type, method: str) -> int:
    """Where in the order of its bases ``cls`` finds a method."""
    return next(place for place, base in enumerate(cls.__mro__) if method in vars(base))


@cache
def code_hash(modules: tuple[ModuleType, ...]) -> str:
    """SHA-256 of the source of the towers, the image transforms and the decoding."""
    everything = (*modules, augment, functional, dassl.utils.files, sys.modules[__name__])
    return hashlib.sha256(b"".join(Path(str(m.__file__)).read_bytes() for m in everything)).hexdigest()


class FeatureFile:
    """Features [N, E] of images, in a file that is named by what they were computed from.

    Args:
        folder: where the file lies.
        computed_by: what tells the tower and the transform from all others.
        paths: of the images. An image counts as another one when its size or one of its times has changed.

    Raises:
        OSError: an image is not there.
    """

    def __init__(self, folder: Path, computed_by: Sequence[str], paths: Sequence[str]) -> None:
        self.paths = paths
        key = hashlib.sha256(os.fsencode("\0".join([*computed_by, *paths]))).hexdigest()
        self.path = folder / f"{key[:32]}.safetensors"
        self.stamps = self._stamps()

    def _stamps(self) -> Tensor:
        """Size in bytes and times of change in ns of each image as it is now, [N, 3]."""
        stats = [os.stat(path) for path in self.paths]
        return torch.tensor([(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats])

    def read(self) -> Tensor | None:
        """The features; None if there are none of these images as they are now."""
        if not self.path.exists():
            return None
        try:
            stored = load_file(self.path)
            features, stamps = stored["features"], stored["stamps"]
        except (SafetensorError, OSError, KeyError) as error:
            logger.warning("%s is damaged and made anew: %s", self.path, error)
            return None
        if not torch.equal(stamps, self.stamps):
            logger.info("Some images have changed since %s was written: it is made anew", self.path)
            return None
        logger.info("Image features are read from %s (TEST.CACHE_FEATURES)", self.path)
        return features

    def write(self, features: Tensor) -> None:
        """Keep the features, unless they are broken or an image has changed since this object was made.

        A folder that cannot be written to is warned about.
        """
        if not features.isfinite().all() or not torch.equal(self._stamps(), self.stamps):
            return
        try:
            with atomic_path(str(self.path)) as temporary:
                save_file({"features": features, "stamps": self.stamps}, temporary)
        except (OSError, SafetensorError) as error:
            logger.warning("TEST.CACHE_FEATURES: the image features cannot be kept: %s", error)
            return
        logger.info("Image features are kept in %s for other runs (TEST.CACHE_FEATURES)", self.path)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's weights (names, types, shapes and values), and of what computes with them.

    The same weights give other features with another activation or head width, which the module's text shows.
    """
    total = hashlib.sha256(repr(module).encode())
    for name, tensor in module.state_dict().items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
