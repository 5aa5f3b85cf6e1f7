"""Pretraining images, 32 x 32 RGB, drawn on the fly: characters and shapes in many looks.

Shape legend: B images, S side of an image in pixels, M masks in the bank.

What an image shows is written down as one row of integers (``ATTRIBUTES``), from which
``demo.captions`` makes sentences and by which a caption's fit to any image can be told.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from demo.glyphs import CONTENTS, MASK, MEDIA, WEIGHTS, Bank

SIDE = MASK // 2

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (15, 15, 15),
    "white": (242, 242, 242),
    "gray": (128, 128, 128),
    "red": (205, 35, 35),
    "orange": (240, 140, 25),
    "yellow": (240, 220, 45),
    "green": (40, 150, 60),
    "blue": (40, 75, 205),
    "purple": (125, 50, 165),
    "pink": (245, 150, 190),
    "brown": (115, 70, 35),
}
BACKGROUNDS = ("plain", "striped", "checkered", "dotted", "shaded")
QUALITIES = ("sharp", "blurry", "pixelated", "noisy")
SIZES = ("medium", "small", "large")
ATTRIBUTES = {  # name: number of values
    "content": len(CONTENTS),
    "case": 3,
    "medium": len(MEDIA),
    "weight": len(WEIGHTS),
    "slanted": 2,
    "ink": len(COLOURS),
    "ground": len(COLOURS),
    "background": len(BACKGROUNDS),
    "quality": len(QUALITIES),
    "size": len(SIZES),
}

_POOR_SIDES = (8, 11, 14)  # pixels, resolution of blurry and pixelated images
_MIN_CONTRAST = 0.7  # Euclidean distance of ink and ground in RGB, each channel 0 to 1


@dataclass(frozen=True)
class Batch:
    """B rendered images.

    Attributes:
        images: float32 [B, 3, SIDE, SIDE], 0 to 1.
        attributes: int64 [B, len(ATTRIBUTES)]; -1 where nothing certain can be said.
    """

    images: Tensor
    attributes: Tensor


class Renderer:
    """Draws batches from a bank of masks; the same seed draws the same batches.

    Args:
        bank: what can be drawn.
        seed: of the renderer's own random stream.
    """

    def __init__(self, bank: Bank, seed: int) -> None:
        self._masks = torch.from_numpy(bank.masks)
        columns = (bank.content, bank.case, bank.medium, bank.weight, bank.slanted)
        self._facts = torch.stack([torch.from_numpy(column) for column in columns], dim=1).long()
        self._members = [
            [torch.nonzero((self._facts[:, 0] == c) & (self._facts[:, 2] == m)).flatten() for m in (-1, 0, 1)]
            for c in range(int(self._facts[:, 0].max()) + 1)
        ]
        self._difficulty = 1.0
        self._rng = torch.Generator().manual_seed(seed)
        self._palette = torch.tensor(list(COLOURS.values())) / 255

    def batch(self, size: int, difficulty: float = 1.0) -> Batch:
        """``size`` images; contents are drawn evenly, printed and handwritten in equal parts.

        Args:
            size: number of images.
            difficulty: 0 to 1, how far glyphs are distorted and how often images are coloured, textured or
                spoilt.
        """
        self._difficulty = difficulty
        chosen = self._choose(size)
        scale, size_name = self._sizes(size)
        coverage = self._distort(self._masks[chosen].float()[:, None] / 255, scale)
        ink, ground = self._colours(size)
        background, background_name = self._background(size, ground)
        images = background + coverage * (self._tint(ink)[..., None, None] - background)
        images, quality = self._degrade(images)
        facts = self._facts[chosen]
        names = torch.stack([ink, ground, background_name, quality, size_name], dim=1)
        return Batch(images.clamp(0, 1), torch.cat([facts, names], dim=1))

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self._rng) * (high - low) + low

    def _integers(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=self._rng)

    def _choose(self, size: int) -> Tensor:
        """Mask numbers [B]."""
        chosen = []
        for content, medium in zip(
            self._integers(len(self._members), size).tolist(), self._integers(2, size).tolist(), strict=True
        ):
            shapes, *characters = self._members[content]
            pool = shapes if len(shapes) else characters[medium]
            chosen.append(int(pool[self._integers(len(pool), 1)]))
        return torch.tensor(chosen)

    def _sizes(self, size: int) -> tuple[Tensor, Tensor]:
        """Scale [B] of the glyph and index [B] into ``SIZES``."""
        d = self._difficulty
        scale = self._uniform(size, low=1.15 - 0.45 * d, high=1.15 + 0.2 * d)
        name = torch.where(scale < 0.85, 1, torch.where(scale > 1.2, 2, 0))
        return scale, name

    def _distort(self, masks: Tensor, scale: Tensor) -> Tensor:
        """Rotated, sheared, scaled, moved and warped masks: [B, 1, 2S, 2S] -> [B, 1, S, S]."""
        n, d = len(masks), self._difficulty
        angle = self._uniform(n, low=-0.3, high=0.3) * d
        shear = self._uniform(n, low=-0.25, high=0.25) * d
        aspect = self._uniform(n, low=0.8, high=1.25).sqrt()
        cos, sin = angle.cos(), angle.sin()
        inverse = torch.stack(
            [
                torch.stack([cos / aspect, (sin + shear) / aspect], dim=1),
                torch.stack([-sin * aspect, cos * aspect], dim=1),
            ],
            dim=1,
        ) / scale[:, None, None]  # fmt: skip
        room = (1.1 - 0.75 * scale).clamp(0.05)[:, None]
        shift = self._uniform(n, 2, low=-0.4, high=0.4) * room * d
        theta = torch.cat([inverse, -(inverse @ shift[..., None])], dim=2)
        grid = F.affine_grid(theta, [n, 1, MASK, MASK], align_corners=False)
        bumps = torch.randn(n, 2, 4, 4, generator=self._rng) * self._uniform(n, 1, 1, 1, high=0.12 * d)
        warp = F.interpolate(bumps, size=(MASK, MASK), mode="bicubic", align_corners=True)
        warped = F.grid_sample(masks, grid + warp.permute(0, 2, 3, 1), align_corners=False)
        return F.avg_pool2d(warped, 2)

    def _colours(self, size: int) -> tuple[Tensor, Tensor]:
        """Ink and ground [B], indices into ``COLOURS``, far enough apart; a third is black and white."""
        distance = torch.cdist(self._palette, self._palette)
        allowed = (distance > _MIN_CONTRAST).float()
        ink = self._integers(len(COLOURS), size)
        ground = torch.multinomial(allowed[ink], 1, generator=self._rng).flatten()
        plain = self._uniform(size) < 1 - 0.67 * self._difficulty
        first = self._integers(2, size)
        return torch.where(plain, first, ink), torch.where(plain, 1 - first, ground)

    def _tint(self, colour: Tensor) -> Tensor:
        """RGB [B, 3] near the named colours [B]."""
        return (self._palette[colour] + 0.1 * torch.randn(len(colour), 3, generator=self._rng)).clamp(0, 1)

    def _background(self, size: int, ground: Tensor) -> tuple[Tensor, Tensor]:
        """Backgrounds [B, 3, S, S] in the ground's colour and index [B] into ``BACKGROUNDS``."""
        patterned = self._uniform(size) < 0.5 * self._difficulty
        kind = torch.where(patterned, self._integers(len(BACKGROUNDS), size), 0)
        axis = torch.arange(SIDE) / SIDE - 0.5
        y, x = (a[None] for a in torch.meshgrid(axis, axis, indexing="ij"))
        turn = self._uniform(size, 1, 1, high=torch.pi)
        u, v = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
        waves = self._uniform(size, 1, 1, low=2.5, high=6) * 2 * torch.pi
        su, sv = (waves * u).sin(), (waves * v).sin()
        patterns = [
            torch.zeros_like(u),
            (su > 0).float(),
            (su * sv > 0).float(),
            (su + sv > 1).float(),
            2 * u,
        ]
        pattern = torch.stack(patterns, dim=1)[torch.arange(size), kind][:, None]
        base = self._tint(ground)[..., None, None]
        towards = torch.where(base.mean(dim=1, keepdim=True) > 0.5, -1.0, 1.0)
        depth = self._uniform(size, 1, 1, 1, low=0.12, high=0.3)
        return (base + towards * depth * pattern).clamp(0, 1), kind

    def _degrade(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images as a poor camera would give them, and index [B] into ``QUALITIES``."""
        n = len(images)
        spoilt = self._uniform(n) < 0.6 * self._difficulty
        quality = torch.where(spoilt, self._integers(len(QUALITIES), n), 0)
        grain = torch.randn(images.shape, generator=self._rng) * self._uniform(n, 1, 1, 1, low=0.1, high=0.2)
        resolution = self._integers(len(_POOR_SIDES), n)
        for index, side in enumerate(_POOR_SIDES):
            for kind, mode in ((1, "bicubic"), (2, "nearest")):
                rows = torch.nonzero((quality == kind) & (resolution == index)).flatten()
                if len(rows):
                    small = F.adaptive_avg_pool2d(images[rows], side)
                    images = images.index_copy(0, rows, F.interpolate(small, size=(SIDE, SIDE), mode=mode))
        return torch.where((quality == 3)[:, None, None, None], images + grain, images), quality
