"""Pictures of a classifier: confusion matrix, reliability diagram, contact sheet of its surest mistakes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from dassl.metrics import bins_of, calibration_error
from reporting.predictions import Predictions

MOST_NUMBERS = 25  # classes up to which the cells of the matrix hold their counts
MOST_NAMES = 80  # and up to which rows and columns have names
COLUMNS = 5  # of the contact sheet
THUMBNAIL = (360, 360)  # pixels
RESOLUTION = 130  # dots an inch


def drawn(draw: Callable[[Any], Any]) -> Any:
    """The figure that ``draw`` makes with pyplot, on no screen, with names as they are written."""
    import matplotlib  # here, since it takes a second to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):
        figure = draw(pyplot)
        pyplot.close(figure)
    return figure


def confusion_figure(predictions: Predictions) -> Any:
    """True class by predicted class; shades are shares of the row, numbers are images."""
    counts, names = predictions.confusion(), [shortened(name, 24) for name in predictions.classnames]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(pyplot: Any) -> Any:
        side = 2.4 + min(0.36 * len(names), 13)
        figure, axis = pyplot.subplots(figsize=(side + 0.9, side), layout="constrained")
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=axis, fraction=0.04, label="share of the true class")
        axis.set(xlabel="predicted class", ylabel="true class")
        ticks = range(len(names)) if len(names) <= MOST_NAMES else []
        size = 9 if len(names) <= MOST_NUMBERS else 6
        axis.set_xticks(ticks, names if ticks else [], rotation=90, fontsize=size)
        axis.set_yticks(ticks, names if ticks else [], fontsize=size)
        for row, column in zip(*np.nonzero(counts), strict=True) if len(names) <= MOST_NUMBERS else ():
            colour = "white" if shares[row, column] > 0.55 else "#1c2430"
            axis.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8)
        return figure

    return drawn(draw)


def calibration_figure(predictions: Predictions) -> Any:
    """Accuracy over confidence, before and after temperature scaling; the diagonal is what it should be."""
    correct = predictions.correct

    def draw(pyplot: Any) -> Any:
        figure, (above, below) = pyplot.subplots(
            2, 1, figsize=(4.6, 5.2), sharex=True, height_ratios=[3, 1], layout="constrained"
        )
        above.plot([0, 1], [0, 1], color="#9aa4b5", linewidth=1)
        kinds = [(1.0, "as they are", "#dd8452")] if predictions.temperature == 1 else []
        if predictions.temperature != 1:
            kinds += [(1.0, "before", "#dd8452"), (predictions.temperature, "after scaling", "#2b6cb0")]
        for temperature, label, colour in kinds:
            confidence = predictions.confidence(temperature)
            bins, error = bins_of(confidence, correct), calibration_error(confidence, correct)
            places = [part.confidence for part in bins]
            above.plot(
                places, [part.accuracy for part in bins], "o-", color=colour, markersize=4,
                label=f"{label}: ECE {100 * error:.1f} %",
            )  # fmt: skip
            below.hist(confidence, bins=20, range=(0, 1), color=colour, alpha=0.6)
        above.set(ylabel="share that is right", xlim=(0, 1.01), ylim=(-0.02, 1.02))
        above.legend(frameon=False, loc="upper left")
        below.set(xlabel="confidence", ylabel="images")
        for axis in (above, below):
            axis.spines[["top", "right"]].set_visible(False)
        return figure

    return drawn(draw)


def contact_sheet(predictions: Predictions, mistakes: list[int]) -> Any:
    """The images ``mistakes``, with what they are and what they were taken for."""
    confidence, names = predictions.confidence(), predictions.classnames
    rows = -(-len(mistakes) // COLUMNS)

    def draw(pyplot: Any) -> Any:
        columns = min(COLUMNS, len(mistakes))
        figure, grid = pyplot.subplots(
            rows, columns, figsize=(2.5 * columns, 3.3 * rows), squeeze=False, layout="constrained"
        )
        for axis in grid.ravel():
            axis.axis("off")
        for axis, index in zip(grid.ravel(), mistakes, strict=False):
            axis.imshow(thumbnail(predictions.paths[index]))
            said = names[predictions.predicted[index]]
            is_one = names[predictions.labels[index]]
            title = [f"{100 * confidence[index]:.0f} % {shortened(said, 40)}", f"is: {shortened(is_one, 40)}"]
            axis.set_title("\n".join(textwrap.fill(line, 26) for line in title), fontsize=9, loc="left")
        return figure

    return drawn(draw)


def thumbnail(path: str) -> Image.Image:
    """A photo, upright and small; grey where it cannot be read any more."""
    try:
        with Image.open(path) as image:
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return Image.new("RGB", THUMBNAIL, "#cccccc")
    small.thumbnail(THUMBNAIL)
    return small


def shortened(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
