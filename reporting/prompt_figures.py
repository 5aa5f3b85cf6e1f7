"""Prompts and class features as pictures: feature maps, similarities, the plane of two components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MOST_CHANNELS = 64  # of a feature map; more are averaged in groups, as the paper's Figure 7 is down-sampled
MOST_NAMES = 40  # of classes along an axis


def pooled(rows: np.ndarray, most: int = MOST_CHANNELS) -> np.ndarray:
    """Rows [R, D] with groups of neighbouring channels averaged, at most ``most`` of them."""
    return np.stack([part.mean(axis=1) for part in np.array_split(rows, min(most, rows.shape[1]), axis=1)], 1)


def principal_plane(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Features [n, E] of each name in the plane [n, 2] of the two largest principal components of all."""
    everything = np.concatenate(list(features.values()))
    mean = everything.mean(axis=0)
    _, _, axes = np.linalg.svd(everything - mean, full_matrices=False)
    return {name: (values - mean) @ axes[:2].T for name, values in features.items()}


def heat_maps(
    panels: Mapping[str, np.ndarray], names: Sequence[str], label: str, stacked: bool = False
) -> Any:
    """Matrices by title, in one scale of colours: below each other if ``stacked``.

    Args:
        names: of the rows, and of the columns where there are as many; left out where there are too many.
        label: what the colours stand for.
    """
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context({"text.parse_math": False}):
        from matplotlib import pyplot

        rows, columns = (len(panels), 1) if stacked else (1, len(panels))
        height, width = next(iter(panels.values())).shape
        size = (9, 0.6 + rows * (0.55 + 0.22 * min(height, 20))) if stacked else (4.2 * columns + 1, 4.4)
        figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        least, most = (bound(panel.min() if bound is min else panel.max() for panel in panels.values())
                       for bound in (min, max))  # fmt: skip
        for axis, (title, panel) in zip(axes.ravel(), panels.items(), strict=True):
            image = axis.imshow(
                panel, vmin=least, vmax=most, cmap="viridis", aspect="auto" if stacked else "equal"
            )
            axis.set_title(title, fontsize=10, loc="left")
            named = names if len(names) <= MOST_NAMES else []
            axis.set_yticks(range(len(named)), named, fontsize=7)
            axis.set_xticks(*((range(len(named)), named) if width == len(named) else ([], [])), fontsize=7)
            axis.tick_params(axis="x", labelrotation=90)
        figure.colorbar(image, ax=axes.ravel().tolist(), label=label, shrink=0.8)
        pyplot.close(figure)
    return figure


def plane_figure(points: Mapping[str, np.ndarray], names: Sequence[str]) -> Any:
    """Classes as points [n, 2] under each of several prompts, a line from one prompt to the next."""
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context({"text.parse_math": False}):
        from matplotlib import pyplot

        figure, axis = pyplot.subplots(figsize=(6.5, 5.5), layout="constrained")
        paths = np.stack(list(points.values()))  # [prompts, n, 2]
        for i in range(paths.shape[1]):
            axis.plot(*paths[:, i].T, color="#bbbbbb", linewidth=0.8, zorder=1)
        for title, values in points.items():
            axis.scatter(values[:, 0], values[:, 1], s=18, label=title, zorder=2)
        for name, place in zip(names if len(names) <= MOST_NAMES else [], paths[-1], strict=False):
            axis.annotate(name, place, fontsize=7, xytext=(3, 3), textcoords="offset points")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xlabel("first principal component of the class features")
        axis.set_ylabel("second")
        axis.legend(frameon=False, fontsize=8)
        pyplot.close(figure)
    return figure
