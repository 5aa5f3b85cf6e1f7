"""Letters: the 26 capitals, rendered from matplotlib's fonts and leaning to the left.

Neither the fonts (DejaVu, STIX, Computer Modern) nor the distortions (perspective, waves, scratches, uneven
light) occur in the demo model's pretraining. All letters lean the same way and the class names do not say
"capital", so that there is something for a prompt to learn.
"""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dassl.data.datasets import DATASET_REGISTRY
from datasets.homemade import HomemadeBenchmark, assign_parts

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSerif-Italic", "DejaVuSansMono", "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBol",
    "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10", "cmb10", "cmss10", "cmtt10", "cmti10",
)  # fmt: skip
_PER_CLASS = {"train": 40, "val": 10, "test": 70}
_SIDE = 32  # pixels
_MAX_LEAN = 20  # degrees
_DRAWN = 96  # pixels, side of the canvas that is drawn on before it is reduced


@DATASET_REGISTRY.register()
class Letters(HomemadeBenchmark):
    dataset_dir = "letters"
    split_file = "split_letters.json"
    example = "00/00000.png"

    @staticmethod
    def images() -> Iterator[tuple[str, int, str, Image.Image]]:
        rng = random.Random(0)
        fonts = [ImageFont.truetype(str(path), 72) for path in font_files()]
        shares = {part: count for part, count in _PER_CLASS.items() if part != "test"}
        for label, letter in enumerate(ALPHABET):
            for part in assign_parts(sum(_PER_CLASS.values()), shares, rng):
                yield part, label, f"letter {letter}", render(letter.upper(), rng.choice(fonts), rng)


def font_files() -> list[Path]:
    """The font files, found without importing matplotlib.

    Raises:
        FileNotFoundError: matplotlib, which ships them, is not installed, or is an early one that lacks some.
    """
    spec = importlib.util.find_spec("matplotlib")
    remedy = 'pip install "matplotlib>=3.11"'
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"data set Letters draws with matplotlib's fonts: {remedy}")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    files = [folder / f"{name}.ttf" for name in FONTS]
    if missing := [file.name for file in files if not file.is_file()]:
        raise FileNotFoundError(f"matplotlib lacks {', '.join(missing)} for the data set Letters: {remedy}")
    return files


def render(text: str, font: ImageFont.FreeTypeFont, rng: random.Random) -> Image.Image:
    """A distorted 32 x 32 RGB image of one character."""
    mask = Image.new("L", (_DRAWN, _DRAWN), 0)
    draw = ImageDraw.Draw(mask)
    left, top, right, bottom = font.getbbox(text)
    x = (_DRAWN - left - right) / 2 + rng.uniform(-7, 7)
    y = (_DRAWN - top - bottom) / 2 + rng.uniform(-7, 7)
    draw.text((x, y), text, fill=255, font=font)
    mask = _perspective(mask.rotate(rng.uniform(0, _MAX_LEAN), Image.Resampling.BILINEAR), rng)
    coverage = _wave(np.asarray(mask, dtype=np.float64) / 255, rng)
    coverage = _scratch(coverage, rng)
    ink, ground = _colours(rng)
    pixels = ground + coverage[..., None] * (ink - ground)
    pixels = pixels * _shade(rng)[..., None]
    image = Image.fromarray(np.clip(pixels * 255, 0, 255).round().astype(np.uint8))
    return image.resize((_SIDE, _SIDE), Image.Resampling.BOX)


def _perspective(mask: Image.Image, rng: random.Random) -> Image.Image:
    """The mask seen from a random angle."""
    a, b, d, e = 1.0, rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), 1.0
    g, h = rng.uniform(-3e-3, 3e-3), rng.uniform(-3e-3, 3e-3)
    centre = _DRAWN / 2  # kept in place
    scale = g * centre + h * centre + 1
    c, f = centre * (scale - a - b), centre * (scale - d - e)
    projection = (a, b, c, d, e, f, g, h)
    return mask.transform(mask.size, Image.Transform.PERSPECTIVE, projection, Image.Resampling.BILINEAR)


def _wave(coverage: np.ndarray, rng: random.Random) -> np.ndarray:
    """Rows shifted along a sine."""
    height, turns, phase = rng.uniform(0, 4), rng.uniform(0.5, 2), rng.uniform(0, 2 * math.pi)
    shifts = np.rint(height * np.sin(np.arange(_DRAWN) * turns * 2 * math.pi / _DRAWN + phase)).astype(int)
    return np.stack([np.roll(row, shift) for row, shift in zip(coverage, shifts, strict=True)])


def _scratch(coverage: np.ndarray, rng: random.Random) -> np.ndarray:
    """A line across the picture, of ink or of ground, on every other image."""
    if rng.random() < 0.5:
        return coverage
    line = Image.new("L", (_DRAWN, _DRAWN), 0)
    first, last = (rng.uniform(0, _DRAWN), 0.0), (rng.uniform(0, _DRAWN), float(_DRAWN))
    if rng.random() >= 0.5:  # from side to side instead of from top to bottom
        first, last = first[::-1], last[::-1]
    ImageDraw.Draw(line).line((first, last), fill=255, width=rng.randint(3, 5))
    drawn = np.asarray(line, dtype=np.float64) / 255
    return np.maximum(coverage, drawn) if rng.random() < 0.5 else np.minimum(coverage, 1 - drawn)


def _colours(rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Ink and ground, RGB 0 to 1, of clearly different brightness."""
    while True:
        ink, ground = (np.array([rng.random() for _ in range(3)]) for _ in range(2))
        if abs(ink.mean() - ground.mean()) > 0.25:
            return ink, ground


def _shade(rng: random.Random) -> np.ndarray:
    """Uneven light: brightness [S, S] falling to one side."""
    angle, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.5)
    axis = np.linspace(-1, 1, _DRAWN)
    return 1 - depth * (0.5 + 0.35 * (math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]))
