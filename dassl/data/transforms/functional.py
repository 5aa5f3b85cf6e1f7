"""Image operations on Pillow images and tensors, equal bit for bit to torchvision's on Pillow images.

H and W are height and width in pixels, C channels. Images are RGB unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

INTERPOLATION_MODES = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def resize(img: Image.Image, size: Sequence[int], interpolation: Image.Resampling) -> Image.Image:
    """Resize to exactly ``size`` = (H, W); the aspect ratio is not kept."""
    height, width = size
    if img.size == (width, height):
        return img
    return img.resize((width, height), interpolation)


def resize_smaller_edge(img: Image.Image, size: int, interpolation: Image.Resampling) -> Image.Image:
    """Resize so that the smaller edge is ``size`` pixels; the longer one is rounded down."""
    width, height = img.size
    if width <= height:
        return resize(img, (int(size * height / width), size), interpolation)
    return resize(img, (size, int(size * width / height)), interpolation)


def crop(img: Image.Image, top: int, left: int, height: int, width: int) -> Image.Image:
    """Cut out a rectangle of pixels."""
    return img.crop((left, top, left + width, top + height))


def center_crop(img: Image.Image, size: Sequence[int]) -> Image.Image:
    """Cut ``size`` = (H, W) out of the middle; a smaller image is padded with black first."""
    height, width = size
    missing_w, missing_h = max(width - img.width, 0), max(height - img.height, 0)
    if missing_w or missing_h:
        border = (missing_w // 2, missing_h // 2, (missing_w + 1) // 2, (missing_h + 1) // 2)
        img = ImageOps.expand(img, border=border, fill=0)
    top = round((img.height - height) / 2.0)
    left = round((img.width - width) / 2.0)
    return crop(img, top, left, height, width)


def hflip(img: Image.Image) -> Image.Image:
    """Swap left and right."""
    return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def adjust_brightness(img: Image.Image, factor: float) -> Image.Image:
    """Blend with black: 0 gives black, 1 the image."""
    return ImageEnhance.Brightness(img).enhance(factor)


def adjust_contrast(img: Image.Image, factor: float) -> Image.Image:
    """Blend with the mean grey: 0 gives grey, 1 the image."""
    return ImageEnhance.Contrast(img).enhance(factor)


def adjust_saturation(img: Image.Image, factor: float) -> Image.Image:
    """Blend with the image's greyscale version: 0 gives greyscale, 1 the image."""
    return ImageEnhance.Color(img).enhance(factor)


def adjust_hue(img: Image.Image, factor: float) -> Image.Image:
    """Turn the colour circle by ``factor`` in -0.5..0.5 of a full turn."""
    hue, saturation, value = img.convert("HSV").split()
    shift = np.int32(factor * 255).astype(np.uint8)
    # Hue is a circle: the 8-bit overflow is the turn past the end.
    turned = Image.fromarray(np.array(hue, dtype=np.uint8) + shift)
    return Image.merge("HSV", (turned, saturation, value)).convert(img.mode)


def to_grayscale(img: Image.Image) -> Image.Image:
    """Greyscale, as an image of three equal channels."""
    gray = img.convert("L")
    return Image.merge("RGB", (gray, gray, gray))


def gaussian_blur(img: Image.Image, kernel_size: int, sigma: float) -> Image.Image:
    """Blur with a Gaussian of ``sigma`` pixels, cut to ``kernel_size`` pixels; edges are mirrored."""
    pixels = torch.from_numpy(np.array(img)).permute(2, 0, 1).float()  # [C, H, W]
    half = (kernel_size - 1) / 2
    x = torch.linspace(-half, half, steps=kernel_size)
    kernel = torch.exp(-0.5 * (x / sigma).pow(2))
    kernel = kernel / kernel.sum()
    kernel2d = torch.mm(kernel[:, None], kernel[None, :]).expand(3, 1, kernel_size, kernel_size)
    padded = torch.nn.functional.pad(pixels[None], [kernel_size // 2] * 4, mode="reflect")
    blurred = torch.nn.functional.conv2d(padded, kernel2d, groups=3)[0]
    return Image.fromarray(blurred.round().to(torch.uint8).permute(1, 2, 0).numpy())


def to_tensor(img: Image.Image) -> torch.Tensor:
    """float32 [C, H, W] in 0..1."""
    pixels = torch.from_numpy(np.array(img))  # [H, W, C] uint8
    return pixels.permute(2, 0, 1).contiguous().float().div(255)


def normalize(img: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(img - mean) / std per channel of ``img`` [C, H, W]."""
    shift, scale = (torch.tensor(v, dtype=img.dtype).view(-1, 1, 1) for v in (mean, std))
    return (img - shift) / scale


def instance_normalize(img: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """Mean 0 and standard deviation 1 per channel of ``img`` [C, H, W]."""
    flat = img.flatten(1)
    mean, std = flat.mean(1)[:, None, None], flat.std(1)[:, None, None]
    return (img - mean) / (std + eps)
