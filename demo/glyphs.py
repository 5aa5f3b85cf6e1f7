"""The shapes that the pretraining images show: printed and hand-drawn characters, and plain shapes.

Everything is drawn once into a bank of masks; ``demo.render`` distorts and colours them afterwards.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MASK = 64  # pixels, side of a mask; images are half of it
_GLYPH = 42  # pixels, height of a capital letter in a mask

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "pentagon")
CONTENTS = (*DIGITS, *LETTERS, *SHAPES)
CHARACTERS = "0123456789" + "".join(LETTERS) + "".join(LETTERS).upper()

# Packages of openly licensed fonts (SIL OFL or Apache 2.0). None of them may serve the `Letters` data set.
FONT_PACKAGES = (
    "font_amatic_sc",
    "font_caladea",
    "font_fredoka_one",
    "font_roboto",
    "font_source_sans_pro",
    "font_source_serif_pro",
)
STROKE_FONTS = ("futural", "rowmans", "cursive", "futuram")

MEDIA = ("printed", "handwritten")
WEIGHTS = ("regular", "thin", "bold")
_LIGHT = ("Thin", "Light", "Amatic")
_HEAVY = ("Bold", "Black", "Semibold", "SemiBold", "Fredoka")


@dataclass(frozen=True)
class Bank:
    """M masks and what each of them shows.

    Attributes:
        masks: uint8 [M, MASK, MASK], 255 where the ink is.
        content: int64 [M], index into ``CONTENTS``.
        case: int64 [M], 0 no case, 1 lowercase, 2 capital.
        medium: int64 [M], index into ``MEDIA``; -1 for shapes.
        weight: int64 [M], index into ``WEIGHTS``; -1 where it is neither thin nor bold for sure.
        slanted: int64 [M], 1 for italics.
    """

    masks: np.ndarray
    content: np.ndarray
    case: np.ndarray
    medium: np.ndarray
    weight: np.ndarray
    slanted: np.ndarray


@dataclass(frozen=True)
class _Entry:
    mask: np.ndarray
    content: int
    case: int = 0
    medium: int = -1
    weight: int = -1
    slanted: int = 0


def content_of(character: str) -> int:
    """Index into ``CONTENTS`` of a digit or a letter, whatever its case."""
    return int(character) if character.isdigit() else CONTENTS.index(character.lower())


def font_files() -> list[Path]:
    """TrueType files of the training fonts, in a fixed order.

    Raises:
        FileNotFoundError: a font package is not installed.
    """
    files: list[Path] = []
    for package in FONT_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f"pretraining needs the fonts of {package}: pip install -r demo/requirements.txt"
            )
        files.extend(sorted(Path(spec.origin).parent.glob("files/*.ttf")))
    return files


def build_bank(seed: int, drawings: int = 20) -> Bank:
    """All masks: every character in every font, ``drawings`` shaky drawings a stroke font, and shapes."""
    rng = np.random.default_rng(seed)
    entries = [*_printed(font_files()), *_drawn(rng, drawings), *_shapes(rng, 40)]
    return Bank(
        masks=np.stack([e.mask for e in entries]),
        content=np.array([e.content for e in entries]),
        case=np.array([e.case for e in entries]),
        medium=np.array([e.medium for e in entries]),
        weight=np.array([e.weight for e in entries]),
        slanted=np.array([e.slanted for e in entries]),
    )


def draw_character(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """uint8 [MASK, MASK]: the character, centred by its ink."""
    canvas = Image.new("L", (MASK, MASK), 0)
    left, top, right, bottom = font.getbbox(character)
    position = ((MASK - left - right) / 2, (MASK - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(position, character, fill=255, font=font)
    return np.asarray(canvas)


def load_font(path: Path, height: float = _GLYPH) -> ImageFont.FreeTypeFont:
    """The font at the size at which a capital H is ``height`` pixels high."""
    trial = ImageFont.truetype(str(path), 100)
    _, top, _, bottom = trial.getbbox("H")
    return ImageFont.truetype(str(path), round(100 * height / (bottom - top)))


def _printed(files: Iterable[Path]) -> Iterable[_Entry]:
    for path in files:
        font = load_font(path)
        weight = 2 if any(w in path.stem for w in _HEAVY) else 1 if any(w in path.stem for w in _LIGHT) else 0
        slanted = int(path.stem.endswith("It") or "Italic" in path.stem)
        for character in CHARACTERS:
            yield _Entry(
                draw_character(font, character), content_of(character), _case(character), 0, weight, slanted
            )


def _drawn(rng: np.random.Generator, drawings: int) -> Iterable[_Entry]:
    """Single-stroke characters drawn with a shaky hand and a pen of random width."""
    from HersheyFonts import HersheyFonts  # only pretraining needs the package

    fonts = HersheyFonts()
    for name in STROKE_FONTS:
        fonts.load_default_font(name)
        for character in CHARACTERS:
            strokes = [np.array(stroke, dtype=float) for stroke in fonts.strokes_for_text(character)]
            for _ in range(drawings):
                pen = float(rng.uniform(2.0, 9.0))
                weight = 1 if pen < 3.5 else 2 if pen > 7 else -1
                mask = draw_strokes(_shaken(strokes, rng), pen)
                yield _Entry(mask, content_of(character), _case(character), 1, weight)


def _shaken(strokes: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Strokes scaled to the mask, each point and each stroke moved at random."""
    points = np.concatenate(strokes)
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    scale = rng.uniform(34, 46) / max(np.ptp(points[:, 1]), 0.8 * np.ptp(points[:, 0]))
    stretch = np.array([rng.uniform(0.75, 1.3), 1.0]) * scale
    moved = [(s - centre) * stretch + rng.normal(0, 1.2, 2) + rng.normal(0, 0.7, s.shape) for s in strokes]
    return [stroke + MASK / 2 for stroke in moved]


def draw_strokes(strokes: Sequence[np.ndarray], pen: float) -> np.ndarray:
    """uint8 [MASK, MASK]: polylines [N, 2] in mask pixels, drawn with a round pen ``pen`` pixels wide."""
    zoom = 2  # drawn larger and reduced, since Pillow's lines are not smooth
    canvas = Image.new("L", (MASK * zoom, MASK * zoom), 0)
    draw = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = [(float(x) * zoom, float(y) * zoom) for x, y in stroke]
        draw.line(points, fill=255, width=round(pen * zoom), joint="curve")
        for x, y in (points[0], points[-1]):
            r = pen * zoom / 2
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
    return np.asarray(canvas.resize((MASK, MASK), Image.Resampling.BOX))


def _shapes(rng: np.random.Generator, each: int) -> Iterable[_Entry]:
    for index, name in enumerate(SHAPES):
        for _ in range(each):
            canvas = Image.new("L", (MASK, MASK), 0)
            _draw_shape(ImageDraw.Draw(canvas), name, float(rng.uniform(14, 24)), float(rng.uniform(0, 90)))
            yield _Entry(np.asarray(canvas), len(DIGITS) + len(LETTERS) + index)


def _draw_shape(draw: ImageDraw.ImageDraw, name: str, r: float, turn: float) -> None:
    c = MASK / 2
    box = (c - r, c - r, c + r, c + r)
    sides = {"triangle": 3, "square": 4, "diamond": 4, "pentagon": 5}
    if name == "circle":
        draw.ellipse(box, fill=255)
    elif name == "ring":
        draw.ellipse(box, outline=255, width=round(r / 3))
    elif name == "cross":
        draw.rectangle((c - r, c - r / 3, c + r, c + r / 3), fill=255)
        draw.rectangle((c - r / 3, c - r, c + r / 3, c + r), fill=255)
    elif name == "star":
        radii = [r if i % 2 == 0 else 0.45 * r for i in range(10)]
        angles = [math.radians(36 * i - 90 + turn / 5) for i in range(10)]
        corners = [(c + q * math.cos(a), c + q * math.sin(a)) for q, a in zip(radii, angles, strict=True)]
        draw.polygon(corners, 255)
    else:
        rotation = {"square": 0.0, "diamond": 45.0}.get(name, turn / 5)
        draw.regular_polygon((c, c, r), sides[name], rotation=rotation, fill=255)


def _case(character: str) -> int:
    return 0 if character.isdigit() else 2 if character.isupper() else 1
