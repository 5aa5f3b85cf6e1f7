"""Evaluation in two halves: image features, then logits. A frozen image tower's features are kept on disk.

Shape legend: N images of an evaluation, B of a batch, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from dassl.data import DatasetWrapper
from dassl.data.transforms import Compose
from dassl.engine import TrainerX
from dassl.utils import atomic_path, progress, user_cache

logger = logging.getLogger(__name__)


class FeatureTrainer(TrainerX):
    """A trainer whose logits are a function of image features.

    Where nothing that is tuned enters the image tower, a set of images is encoded once for all runs: the
    features are kept in the user's cache (``TEST.CACHE_FEATURES``).
    """

    precision = "fp32"  # of the towers, see `trainers.precision`

    def frozen_image_tower(self) -> nn.Module | None:
        """The image tower, if image features depend on nothing else; None if they do."""
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
        file = self._feature_file(loader)
        if file is None:
            return loader
        images = loader.dataset.data_source
        features = file.read()
        if features is None:
            features = self._encode(loader)
            file.write(features)
        else:
            # A pass over a loader takes from the random numbers that the training to come depends on.
            iter(DataLoader(images, num_workers=0))
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

    def _encode(self, loader: Any) -> Tensor:
        """Features [N, E] of all images, on the CPU."""
        features = []
        with progress("Encoding images", len(loader)) as bar:
            for batch in loader:
                images, _ = self.parse_batch_test(batch)
                features.append(self.test_image_features(images))
                bar.update()
        return torch.cat(features).cpu()

    def _feature_file(self, loader: Any) -> FeatureFile | None:
        """Where the features of the loader's images belong; None where they cannot be told from others."""
        tower, dataset = self.frozen_image_tower(), loader.dataset
        known = (
            isinstance(dataset, DatasetWrapper)
            and isinstance(dataset.transform, Compose)
            and isinstance(loader.sampler, SequentialSampler)
            and type(self).model_inference is FeatureTrainer.model_inference
        )
        if not self.cfg.TEST.CACHE_FEATURES or tower is None or not known:
            return None
        computed_by = [
            fingerprint(tower),
            repr(dataset.transform),
            self.precision,
            self.device.type,
            torch.__version__,
            PIL.__version__,
        ]
        paths = [item.impath for item in dataset.data_source]
        try:
            return FeatureFile(user_cache() / "features", computed_by, paths)
        except OSError:  # the loader says which image is missing
            return None


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
        key = hashlib.sha256(os.fsencode("\0".join([*computed_by, *paths]))).hexdigest()
        self.path = folder / f"{key[:32]}.safetensors"
        stats = [os.stat(path) for path in paths]  # before any is read: a later change shall be noticed
        self.stamps = torch.tensor([(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats])  # [N, 3]

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
        """Keep the features. Broken ones are not kept; a folder that cannot be written to is warned about."""
        if not features.isfinite().all():
            return
        try:
            with atomic_path(str(self.path)) as temporary:
                save_file({"features": features, "stamps": self.stamps}, temporary)
        except (OSError, SafetensorError) as error:
            logger.warning("TEST.CACHE_FEATURES: the image features cannot be kept: %s", error)
            return
        logger.info("Image features are kept in %s for other runs (TEST.CACHE_FEATURES)", self.path)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's weights: names, types, shapes and values."""
    total = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
