"""Figures that compare detectors on the same images: metrics with intervals, curves, maps of what each gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fastflow_lite.figures.layout import Array, Mask, new_panels, open_frame, show_image, show_map
from fastflow_lite.figures.style import GOLD, GREEN, GUIDE, VIOLET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = ((VIOLET, "s", "--"), (GREEN, "D", "-."), (GOLD, "o", "-"))  # color, marker and dashes of each method
Interval = tuple[float, float, float]  # low, middle, high


def metric_intervals(panels: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw the interval of each method by name as a bar with its value, a panel for each metric."""
    methods = list(next(iter(panels.values())))
    figure, (row,) = new_panels(1, len(panels), (4.2 * len(panels), 0.9 + 0.42 * len(methods)))
    for axes, (metric, intervals) in zip(row, panels.items(), strict=True):
        for height, ((low, middle, high), (color, marker, _)) in enumerate(
            zip(intervals.values(), LOOKS, strict=False)
        ):
            axes.plot([low, high], [height, height], color=color, linewidth=5, alpha=0.45, solid_capstyle="butt")
            axes.plot(middle, height, marker, color=color, markersize=7)
            axes.annotate(f"{middle:.3f}", (middle, height), (0, 8), textcoords="offset points", ha="center")
        axes.set_yticks(range(len(methods)), methods if axes is row[0] else [""] * len(methods))
        axes.set(xlabel=metric, ylim=(len(methods) - 0.5, -0.75))
        open_frame(axes)
    return figure


def method_curves(
    x: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str, **scales: Any
) -> Figure:
    """Draw a line for each method over `x`, a panel for each quantity; `scales` go to `Axes.set`."""
    figure, (row,) = new_panels(1, len(panels), (4.2 * len(panels), 2.9))
    for axes, (quantity, lines) in zip(row, panels.items(), strict=True):
        for (name, values), (color, marker, dashes) in zip(lines.items(), LOOKS, strict=False):
            axes.plot(x, values, marker=marker, linestyle=dashes, color=color, label=name, markersize=6)
        axes.set(xlabel=xlabel, ylabel=quantity, ylim=(-0.03, 1.05), **scales)
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.minorticks_off()
        axes.axhline(0.5 if "AUROC" in quantity else 0, color=GUIDE, linewidth=0.8, zorder=0)
        open_frame(axes)
    row[0].legend(frameon=False)
    return figure


def failure_gallery(
    images: Tensor, masks: Mask, maps: Mapping[str, Array], rows: Sequence[tuple[str, int]], caption: str
) -> Figure:
    """Draw images `(N, 3, H, W)` with the outline of the defect and the map `(N, H, W)` of each method.

    `rows` are labels with indices of images. A column has one range of colors, from the median of its maps of images
    without a defect to the highest thousandth of all its maps; the bar at the right belongs to all of them.
    """
    figure, grid = new_panels(len(rows), 1 + len(maps), (1.75 * (1 + len(maps)) + 1.6, 1.6 * len(rows) + 0.4))
    good = ~masks.reshape(len(masks), -1).any(axis=1)
    for panels, (label, index) in zip(grid, rows, strict=True):
        show_image(panels[0], images[index], masks[index])
        panels[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for axes, values in zip(panels[1:], maps.values(), strict=True):
            low, high = np.median(values[good]), np.quantile(values, 0.999)
            drawn = show_map(axes, (values[index] - low) / (high - low), 0, 1)
    for axes, title in zip(grid[0], ("image", *maps), strict=True):
        axes.set_title(title)
    bar = figure.colorbar(drawn, ax=grid, shrink=0.6, ticks=[0, 1])
    bar.ax.set_yticklabels(["median\nof good", "highest\n0.1 %"])
    figure.supxlabel(caption, fontsize=10)
    return figure
