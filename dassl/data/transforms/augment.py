"""The transforms that ``cfg.INPUT.TRANSFORMS`` can name.

A transform is called as ``transform(img, generator=None)``. Without a generator its random draws come from
torch's global random numbers, in the order in which torchvision's transforms draw; with one, from it alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import torch
from PIL import Image, ImageOps

from dassl.data.transforms import functional as F

Generator = torch.Generator | None


def uniform(low: float, high: float, generator: Generator) -> float:
    """A float32 from [low, high)."""
    return torch.empty(1).uniform_(low, high, generator=generator).item()


def chance(probability: float, generator: Generator) -> bool:
    """True with the given probability."""
    return bool(torch.rand(1, generator=generator) < probability)


def randint(high: int, generator: Generator) -> int:
    """An integer from [0, high)."""
    return int(torch.randint(0, high, size=(1,), generator=generator))


def accepts_generator(transform: Callable[..., Any]) -> bool:
    """Whether ``transform`` can be called with the keyword ``generator``."""
    try:
        return "generator" in inspect.signature(transform).parameters
    except ValueError:  # some builtins have no signature
        return False


def seedable(transform: Callable[..., Any]) -> Callable[..., Any]:
    """``transform`` as one that takes a generator; any other callable is called plainly."""
    return transform if accepts_generator(transform) else Plain(transform)


class Plain:
    """A function of the image, with its options, as a transform. It takes no part in the seeding."""

    def __init__(self, function: Callable[..., Any], *options: Any) -> None:
        self.function, self.options = function, options

    def __call__(self, img: Any, generator: Generator = None) -> Any:
        return self.function(img, *self.options)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"{name}({', '.join(str(getattr(o, 'name', o)) for o in self.options)})"


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = [seedable(t) for t in transforms]

    def __call__(self, img: Any, generator: Generator = None) -> Any:
        for transform in self.transforms:
            img = transform(img, generator=generator)
        return img

    def split(self) -> tuple[Compose, Compose]:
        """The leading steps that only resize and crop, the same way each time; and all others."""
        resizing = (F.resize, F.resize_smaller_edge, F.center_crop)
        leading = takewhile(lambda step: getattr(step, "function", None) in resizing, self.transforms)
        count = len(list(leading))
        return Compose(self.transforms[:count]), Compose(self.transforms[count:])

    def is_fixed(self) -> bool:
        """Whether every step is one of `functional` with fixed options: its ``repr`` then says all."""
        return all(
            type(step) is Plain and getattr(F, getattr(step.function, "__name__", ""), None) is step.function
            for step in self.transforms
        )

    def __len__(self) -> int:
        return len(self.transforms)

    def __repr__(self) -> str:
        return " -> ".join(map(repr, self.transforms))


def is_fixed(transform: Any) -> bool:
    """Whether ``transform`` gives the same view every time and its ``repr`` says which.

    Only a `Compose` that says so is known to; any other callable, or a list of transforms, is not.
    """
    return isinstance(transform, Compose) and transform.is_fixed()


class RandomResizedCrop:
    """Cut out a random rectangle and resize it to ``size`` = (H, W).

    Its share of the area is uniform in ``scale``, its aspect ratio W/H log-uniform in ``ratio``. When ten
    draws do not fit into the image, the largest central rectangle with an allowed aspect ratio is taken.
    """

    def __init__(
        self,
        size: Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: Image.Resampling = Image.Resampling.BILINEAR,
    ) -> None:
        self.size, self.scale, self.ratio, self.interpolation = size, scale, ratio, interpolation

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        return F.resize(F.crop(img, *self.rectangle(img, generator)), self.size, self.interpolation)

    def rectangle(self, img: Image.Image, generator: Generator = None) -> tuple[int, int, int, int]:
        """top, left, height and width in pixels."""
        width, height = img.size
        # float32, as torchvision computes it: float64 would round some sizes differently.
        log_low, log_high = torch.log(torch.tensor(self.ratio)).tolist()
        for _ in range(10):
            area = width * height * uniform(*self.scale, generator)
            aspect = torch.exp(torch.empty(1).uniform_(log_low, log_high, generator=generator)).item()
            w = round(math.sqrt(area * aspect))
            h = round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top = randint(height - h + 1, generator)
                return top, randint(width - w + 1, generator), h, w

        w, h = width, height
        if width / height < min(self.ratio):
            h = round(w / min(self.ratio))
        elif width / height > max(self.ratio):
            w = round(h * max(self.ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def __repr__(self) -> str:
        return f"random_resized_crop({self.size}, scale={self.scale}, {self.interpolation.name.lower()})"


class RandomHorizontalFlip:
    """Mirror with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        return F.hflip(img) if chance(self.p, generator) else img

    def __repr__(self) -> str:
        return f"random_flip(p={self.p})"


class RandomCrop:
    """Pad each side with ``padding`` black pixels, then cut out ``size`` = (H, W) at random."""

    def __init__(self, size: Sequence[int], padding: int) -> None:
        self.size, self.padding = size, padding

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        if self.padding:
            img = ImageOps.expand(img, border=self.padding, fill=0)
        height, width = self.size
        if img.height < height or img.width < width:
            raise ValueError(
                f"random_crop cannot cut {width} x {height} out of {img.width} x {img.height} pixels (with "
                "padding): use random_resized_crop, or a larger INPUT.CROP_PADDING or a smaller INPUT.SIZE"
            )
        if img.size == (width, height):
            return img
        top = randint(img.height - height + 1, generator)
        return F.crop(img, top, randint(img.width - width + 1, generator), height, width)

    def __repr__(self) -> str:
        return f"random_crop({self.size}, padding={self.padding})"


class Random2DTranslation:
    """Resize to ``size`` = (H, W); with probability ``p`` to 9/8 of it, then cut ``size`` out at random."""

    def __init__(
        self,
        size: Sequence[int],
        p: float = 0.5,
        interpolation: Image.Resampling = Image.Resampling.BILINEAR,
    ) -> None:
        self.size, self.p, self.interpolation = size, p, interpolation

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        if not chance(self.p, generator):
            return F.resize(img, self.size, self.interpolation)
        height, width = self.size
        larger = (round(height * 1.125), round(width * 1.125))
        img = F.resize(img, larger, self.interpolation)
        left = round(uniform(0, larger[1] - width, generator))
        top = round(uniform(0, larger[0] - height, generator))
        return F.crop(img, top, left, height, width)

    def __repr__(self) -> str:
        return f"random_translation({self.size}, p={self.p})"


class ColorJitter:
    """Change brightness, contrast, saturation and hue at random, in random order.

    The first three by a factor uniform in 1 +- the given number, the hue by a turn uniform in +- it.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float) -> None:
        factors = [(max(0.0, 1 - amount), 1 + amount) for amount in (brightness, contrast, saturation)]
        self.ranges = [*factors, (-hue, hue)]

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        order = torch.randperm(4, generator=generator).tolist()
        # torchvision draws nothing for an amount of zero.
        factors = [uniform(*r, generator) if r[0] < r[1] else None for r in self.ranges]
        for i in order:
            if (factor := factors[i]) is not None:
                img = adjust[i](img, factor)
        return img

    def __repr__(self) -> str:
        return f"colorjitter({self.ranges})"


class RandomGrayscale:
    """Greyscale with probability ``p``."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        return F.to_grayscale(img) if chance(self.p, generator) else img

    def __repr__(self) -> str:
        return f"randomgrayscale(p={self.p})"


class RandomGaussianBlur:
    """Blur with probability ``p`` and a width uniform in ``sigma`` pixels."""

    def __init__(self, kernel_size: int, p: float, sigma: tuple[float, float] = (0.1, 2.0)) -> None:
        if kernel_size <= 0 or kernel_size % 2 == 0:
            raise ValueError(f"INPUT.GB_K must be odd and positive, got {kernel_size}")
        self.kernel_size, self.p, self.sigma = kernel_size, p, sigma

    def __call__(self, img: Image.Image, generator: Generator = None) -> Image.Image:
        if self.p < torch.rand(1, generator=generator):
            return img
        return F.gaussian_blur(img, self.kernel_size, uniform(*self.sigma, generator))

    def __repr__(self) -> str:
        return f"gaussian_blur({self.kernel_size}, p={self.p})"


class Cutout:
    """Set ``n_holes`` squares of side ``length`` around random pixels of [C, H, W] to zero."""

    def __init__(self, n_holes: int, length: int) -> None:
        self.n_holes, self.length = n_holes, length

    def __call__(self, img: torch.Tensor, generator: Generator = None) -> torch.Tensor:
        img = img.clone()
        _, height, width = img.shape
        for _ in range(self.n_holes):
            y, x = randint(height, generator), randint(width, generator)
            top, left = max(y - self.length // 2, 0), max(x - self.length // 2, 0)
            img[:, top : y + self.length // 2, left : x + self.length // 2] = 0
        return img

    def __repr__(self) -> str:
        return f"cutout({self.n_holes}, {self.length})"


class GaussianNoise:
    """With probability ``p`` add normal noise to a tensor."""

    def __init__(self, mean: float, std: float, p: float = 0.5) -> None:
        self.mean, self.std, self.p = mean, std, p

    def __call__(self, img: torch.Tensor, generator: Generator = None) -> torch.Tensor:
        if not chance(self.p, generator):
            return img
        return img + torch.randn(img.shape, generator=generator) * self.std + self.mean

    def __repr__(self) -> str:
        return f"gaussian_noise({self.mean}, {self.std})"
