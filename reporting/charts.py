"""Small charts of the HTML report: where lines, dots and ticks stand, in pixels.

Written by hand since a tree of runs has hundreds of them; the large plots are matplotlib's (`plots`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

COLOURS = (
    *("#2b6cb0", "#dd8452", "#3a923a", "#c03d3e", "#8d69b8", "#84584e", "#d684bd", "#7f7f7f", "#a9aa35"),
    "#2eabb8",
)
LINE_SIZE = (250, 120)
LEFT, BOTTOM, TOP = 58, 18, 6  # of line charts: room for ticks
ROW_HEIGHT, DOT_WIDTH, CHARACTER = 20, 420, 6.4


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


class Line(NamedTuple):
    """``points`` as an SVG polyline has them."""

    label: str
    colour: str
    points: str


class LineChart(NamedTuple):
    title: str
    width: int
    height: int
    left: int
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def scale(low: float, high: float, start: float, end: float, value: float) -> float:
    return round(start + (end - start) * (value - low) / ((high - low) or 1.0), 1)


def line_chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> LineChart | None:
    """A chart of a line each; None where no point is there."""
    points = [point for line in series.values() for point in line]
    if not points:
        return None
    width, height = LINE_SIZE
    last = max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        bottom, top = (height - BOTTOM, TOP) if high > low else (height / 2, height / 2)
        return scale(0, last, LEFT, width - 8, x), scale(low, high, bottom, top, y)

    lines = []
    for i, (label, line) in enumerate(series.items()):
        drawn = [*line, *line] if len(line) == 1 else line  # a line of one point is not seen
        lines.append(Line(label, colour(i), " ".join("{},{}".format(*place(x, y)) for x, y in drawn)))
    y_ticks = [(place(0, y)[1], f"{y:.3g}") for y in dict.fromkeys((low, high))]
    x_ticks = [(place(x, low)[0], f"{x:g}") for x in (0, math.ceil(last))]
    return LineChart(title, width, height, LEFT, lines, x_ticks, y_ticks)


class Dot(NamedTuple):
    """One seed's accuracy in percent."""

    row: str
    series: str
    seed: int
    accuracy: float


class DotChart(NamedTuple):
    """``circles``: x, y, colour and the text of each; ``rows``: y and label; ``ticks``: x and label."""

    title: str
    width: int
    height: int
    left: int
    circles: list[tuple[float, float, str, str]]
    rows: list[tuple[float, str]]
    ticks: list[tuple[float, str]]
    legend: list[tuple[str, str]]


def tick_step(span: float) -> float:
    """A round step of at most about five ticks."""
    exact = max(span, 1e-9) / 5
    power = 10 ** math.floor(math.log10(exact))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= exact)


def dot_chart(title: str, dots: Iterable[Dot]) -> DotChart | None:
    """A line of dots for each row, a colour for each series; None where no dot is there."""
    dots = list(dots)
    if not dots:
        return None
    rows, series = (
        list(dict.fromkeys(names)) for names in zip(*((d.row, d.series) for d in dots), strict=True)
    )
    accuracies = [dot.accuracy for dot in dots]
    step = tick_step(max(max(accuracies) - min(accuracies), 1.0))
    low, high = math.floor(min(accuracies) / step) * step, math.ceil(max(accuracies) / step) * step
    high = high if high > low else low + step
    left = round(16 + CHARACTER * min(40, max(map(len, rows))))

    def along(value: float) -> float:
        return scale(low, high, left, left + DOT_WIDTH, value)

    circles = []
    for dot in dots:
        # series a little apart, so that equal accuracies stay visible
        apart = (series.index(dot.series) - (len(series) - 1) / 2) * min(2, 14 / len(series))
        down = round(ROW_HEIGHT * (rows.index(dot.row) + 0.5) + apart, 1)
        text = f"{dot.row}, {dot.series}, seed {dot.seed}: {dot.accuracy:.2f} %"
        circles.append((along(dot.accuracy), down, colour(series.index(dot.series)), text))
    ticks = [(along(low + i * step), f"{low + i * step:g}") for i in range(round((high - low) / step) + 1)]
    height = ROW_HEIGHT * len(rows) + 20
    labels = [(ROW_HEIGHT * (i + 0.5), name) for i, name in enumerate(rows)]
    legend = [(name, colour(i)) for i, name in enumerate(series)]
    return DotChart(title, left + DOT_WIDTH + 20, height, left, circles, labels, ticks, legend)
