"""Figures about judging: what AUROC and AUPRO weigh, intervals, and how numbers spread over draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastflow_lite.figures.plots import new_grid
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, LINES, NORMAL, REGION_LINE
from fastflow_lite.scoring.metrics import PRO_LIMIT, pro_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def two_areas(mask: Array, scores: Array, limit: float = PRO_LIMIT) -> Figure:
    """One map `(H, W)` with its mask outlined, its ROC curve, and its PRO curve; the area that counts is filled.

    The last panel's axis is that of the one before; AUPRO counts only what lies left of `limit`.
    """
    from sklearn.metrics import roc_curve

    figure, grid = new_grid(1, 3, 2.6)
    picture, left, right = grid[0]
    picture.imshow(scores, cmap="inferno")
    picture.contour(mask, levels=[0.5], colors=REGION_LINE, linewidths=2.0)
    picture.set(xticks=[], yticks=[])
    picture.set_title("map, and what is defective", fontsize=9)
    false, true, _ = roc_curve(np.ravel(mask), np.ravel(scores))
    _filled(left, false, true, 1.0, "ROC: every pixel alike", "true positive rate")
    _filled(right, *pro_curve([mask], [scores]), limit, "PRO: every region alike", "per-region overlap")
    return figure


def _filled(axes: Axes, x: Array, y: Array, limit: float, title: str, ylabel: str) -> None:
    """A curve over the false positive rate with the area up to `limit` filled."""
    axes.plot(x, y, color=ACCENT, linewidth=1.4)
    inside = x <= limit
    ends = np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))
    axes.fill_between(*ends, color=NORMAL, alpha=0.35, linewidth=0)
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="false positive rate", ylabel=ylabel)
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def intervals(rows: Mapping[str, tuple[float, float, float]], xlabel: str, truth: float | None = None) -> Figure:
    """Rows `(low, middle, high)` by name as bars with a dot; a vertical line at `truth`."""
    figure, grid = new_grid(1, 1, 1.0)
    figure.set_size_inches(6.2, 0.9 + 0.32 * len(rows))
    axes = grid[0][0]
    if truth is not None:
        axes.axvline(truth, color=ANOMALOUS, linewidth=1.2, linestyle="--")
    for height, (low, middle, high) in enumerate(rows.values()):
        axes.plot([low, high], [height, height], color=NORMAL, linewidth=5, alpha=0.45, solid_capstyle="butt")
        axes.plot(middle, height, "o", color=NORMAL, markersize=6)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def spreads(values: Mapping[str, Array], xlabel: str, reference: Mapping[str, float], bins: int = 30) -> Figure:
    """Histograms of draws by name as outlines over one another, the mean of each on the axis; lines at `reference`."""
    figure, grid = new_grid(1, 1, 1.0)
    figure.set_size_inches(6.6, 3.1)
    axes = grid[0][0]
    edges = np.linspace(min(map(np.min, values.values())), max(map(np.max, values.values())), bins + 1)
    for (name, draws), (color, style) in zip(values.items(), LINES, strict=False):
        label = f"{name}: mean {np.mean(draws):.3f}"
        axes.hist(draws, edges, histtype="step", color=color, linestyle=style, linewidth=1.6, label=label)
        axes.plot(np.mean(draws), 0, "^", color=color, markersize=9, clip_on=False, zorder=3)
    for name, value in reference.items():
        axes.axvline(value, color="black", linewidth=1.2, linestyle=":", label=f"{name} {value:.3f}")
    axes.set(xlabel=xlabel, ylabel="splits")
    figure.legend(loc="outside upper center", ncols=len(values) + len(reference), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
