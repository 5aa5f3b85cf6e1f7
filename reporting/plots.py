"""The base/new table and the few-shot curves as pictures: .png, .pdf or .svg, as the file's ending says.

And as the SVG element of a page.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from reporting.base_new import Summary
from reporting.few_shot import Curve
from reporting.names import ZERO_SHOT

_WIDEST = 20  # inches of panels side by side
_LEGEND = 0.18  # inches above all panels


def draw_panels(
    panels: Sequence[Sequence[Any]],
    widths: Sequence[float],
    draw: Callable[[Any, Any], None],
    measure: str = "accuracy (%)",
) -> Any:
    """A figure with one panel a data set, ``widths`` in inches, and one legend.

    Panels stand side by side where that gives a picture of readable width, else below each other.
    """
    import matplotlib  # here, since it takes a second to import and only the plots need it

    matplotlib.use("Agg")
    with matplotlib.rc_context({"text.parse_math": False}):  # a $ in a name is a $
        return _draw_panels(panels, widths, draw, measure)


def _draw_panels(
    panels: Sequence[Sequence[Any]],
    widths: Sequence[float],
    draw: Callable[[Any, Any], None],
    measure: str = "accuracy (%)",
) -> Any:
    from matplotlib import pyplot

    stacked = sum(widths) > _WIDEST
    rows, columns = (len(panels), 1) if stacked else (1, len(panels))
    size = (1.5 + (max(widths) if stacked else sum(widths)), 3.6 * rows)
    ratios = None if stacked else widths
    figure, grid = pyplot.subplots(
        rows, columns, figsize=size, width_ratios=ratios, sharey=True, squeeze=False
    )
    axes = grid.ravel()
    named: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=True):
        draw(axis, panel)
        axis.spines[["top", "right"]].set_visible(False)
        named |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    for axis in axes if stacked else axes[:1]:
        axis.set_ylabel(measure)
    figure.legend(list(named.values()), list(named), frameon=False, fontsize=8, loc="upper right", ncols=4)
    figure.tight_layout(rect=(0, 0, 1, 1 - _LEGEND / size[1]))
    pyplot.close(figure)  # pyplot forgets it; it can still be saved
    return figure


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def svg_element(figure: Any, name: str) -> str:
    """The figure as an ``<svg>`` element, texts as texts; ``name`` keeps its ids apart from others'."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def by_dataset(items: Sequence[Any], dataset: Callable[[Any], str]) -> list[list[Any]]:
    names = dict.fromkeys(map(dataset, items))
    return [[item for item in items if dataset(item) == name] for name in names]


def base_new_figure(summaries: Sequence[Summary]) -> Any:
    """Draws base and new accuracy as bars with their spread. Raises ValueError where no run is complete."""
    drawn = [summary for summary in summaries if summary.n]
    if not drawn:
        raise ValueError("--plot: no seed has both a base and a new result yet, so there is nothing to draw")
    panels = by_dataset(drawn, lambda summary: summary.row.dataset)
    return draw_panels(panels, [1.35 * len(panel) for panel in panels], draw_bars)


def draw_bars(axis: Any, panel: Sequence[Summary]) -> None:
    for offset, name, colour in ((-0.2, "base", "#2b6cb0"), (0.2, "new", "#dd8452")):
        cells = [getattr(summary, name) for summary in panel]
        bars = axis.bar(
            [i + offset for i in range(len(panel))],
            [cell.mean for cell in cells],
            width=0.38,
            yerr=[cell.std or 0 for cell in cells],
            error_kw={"elinewidth": 1, "ecolor": "#444444"},
            capsize=2,
            color=colour,
            label=f"{name} classes",
        )
        axis.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    seeds = "/".join(map(str, sorted({summary.n for summary in panel})))
    axis.set_title(f"{panel[0].row.dataset} (n = {seeds})", fontsize=10, loc="left")
    names = [summary.method.replace("Zero-shot CLIP", "Zero-shot") for summary in panel]
    axis.set_xticks(range(len(panel)), [name.replace(" (", "\n(") for name in names], fontsize=8)
    axis.set_ylim(0, 105)


PLUGIN_MEASURES = {"h": "H (%)", "base": "base accuracy (%)"}


def plugin_figure(summaries: Sequence[Summary], measure: str) -> Any:
    """Draws H (``"h"``) or ``"base"`` accuracy as bars, a prompt learner beside itself with plug-ins.

    By data set and on average, as in Figures 5 and 1 of the DPC paper. Raises ValueError where no learner
    has a complete run.
    """
    drawn = [summary for summary in summaries if summary.n and not summary.method.startswith(ZERO_SHOT)]
    if not drawn:
        raise ValueError(
            f"--plot-{measure}: no seed has both a base and a new result yet, so there is nothing to draw"
        )
    plugins = list(dict.fromkeys(summary.method.partition(" + ")[2] for summary in drawn))
    plugins.sort(key=lambda plugin: (plugin.startswith("DPC"), plugin))  # plain, other plug-ins, DPC
    panels = by_dataset(drawn, lambda summary: summary.row.dataset)
    widths = [0.6 + 0.45 * len(panel) for panel in panels]
    # not from 0: what plug-ins change is small beside it
    lowest = min(cell.mean - (cell.std or 0) for summary in drawn if (cell := getattr(summary, measure)))

    def draw(axis: Any, panel: Sequence[Summary]) -> None:
        draw_plugins(axis, panel, plugins, measure)
        axis.set_ylim(bottom=max(0.0, lowest - 5))

    return draw_panels(panels, widths, draw, PLUGIN_MEASURES[measure])


def draw_plugins(axis: Any, panel: Sequence[Summary], plugins: Sequence[str], measure: str) -> None:
    learners = list(dict.fromkeys(summary.method.partition(" + ")[0] for summary in panel))
    width = 0.84 / len(plugins)
    for i, plugin in enumerate(plugins):
        ours = [summary for summary in panel if summary.method.partition(" + ")[2] == plugin]
        ours = [summary for summary in ours if getattr(summary, measure)]
        cells = [getattr(summary, measure) for summary in ours]
        places = [learners.index(summary.method.partition(" + ")[0]) for summary in ours]
        bars = axis.bar(
            [place + (i - (len(plugins) - 1) / 2) * width for place in places],
            [cell.mean for cell in cells],
            width=0.95 * width,
            yerr=[cell.std or 0 for cell in cells],
            error_kw={"elinewidth": 1, "ecolor": "#444444"},
            capsize=2,
            color=f"C{i}",
            label=f"+ {plugin}" if plugin else "alone",
        )
        axis.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
    axis.set_title(panel[0].row.dataset, fontsize=10, loc="left")
    axis.set_xticks(range(len(learners)), learners, fontsize=8)


def weights_figure(weights: Sequence[float], found: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    """Draws accuracy over the weight of P', a panel a class set, a thin line each run and their mean.

    As in Figure 6 of the DPC paper.

    Args:
        found: accuracies by class set, weight and run.
    """

    def draw(axis: Any, panel: Sequence[str]) -> None:
        (classes,) = panel
        values = found[classes]
        for run in zip(*values, strict=True) if len(values[0]) > 1 else ():
            axis.plot(weights, run, color="#bbbbbb", linewidth=0.8)
        axis.plot(weights, [fmean(runs) for runs in values], "o-", color="#2b6cb0", markersize=4)
        axis.set_title(f"{classes} classes (n = {len(values[0])})", fontsize=10, loc="left")
        axis.set_xlabel("weight of P' (0: the tuned prompt P)")

    return draw_panels([[name] for name in found], [3.4] * len(found), draw)


def few_shot_figure(curves: Sequence[Curve]) -> Any:
    """Draws accuracy with its spread over shots, a curve a method; hollow points lack seeds.

    Raises ValueError where nothing is finished.
    """
    drawn = [curve for curve in curves if any(curve.cells.values())]
    if not drawn:
        raise ValueError("--plot: no few-shot run is finished yet, so there is nothing to draw")
    methods = list(dict.fromkeys(curve.method for curve in drawn))
    panels = by_dataset(drawn, lambda curve: curve.dataset)
    return draw_panels(panels, [3.4] * len(panels), lambda axis, panel: draw_curves(axis, panel, methods))


def draw_curves(axis: Any, panel: Sequence[Curve], methods: Sequence[str]) -> None:
    counts = sorted({shots for curve in panel for shots in curve.cells})
    for curve in panel:
        points = [(shots, cell) for shots, cell in curve.cells.items() if cell]
        colour = f"C{methods.index(curve.method) % 10}"
        axis.errorbar(
            [shots for shots, _ in points],
            [cell.mean for _, cell in points],
            yerr=[cell.std or 0 for _, cell in points],
            color=colour,
            marker="*" if list(curve.cells) == [0] else "o",
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=curve.method,
        )
        fewer = [(shots, cell) for shots, cell in points if cell.n < cell.of]
        x, y = [shots for shots, _ in fewer], [cell.mean for _, cell in fewer]
        axis.plot(x, y, "o", color=colour, markerfacecolor="white", markersize=4, zorder=3)
    axis.set_title(panel[0].dataset, fontsize=10, loc="left")
    axis.set_xlabel("training images per class")
    axis.set_xticks(counts)
