"""Figures of anomaly maps: maps side by side, up-sampling, scores against thresholds, and what is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastflow_lite.figures.plots import new_grid, picture
from fastflow_lite.figures.style import ACCENT, ALARM_LINE, ANOMALOUS, BOX_LINE, FAINT, MASK_LINE, NORMAL, RULES
from fastflow_lite.scoring.thresholds import Threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.floating]
Box = tuple[slice, slice]  # rows and columns, as scipy.ndimage.find_objects gives them
LINES = RULES | {"conformal": ("-.", ACCENT)}


def maps_in_columns(
    images: Tensor, masks: NDArray[np.bool_], maps: Mapping[str, Array], names: Sequence[str]
) -> Figure:
    """A row for each of the images `(N, 3, H, W)`, then maps `(N, H, W)` by title, each with one range for all rows."""
    ranges = [np.quantile(values, (0.05, 0.999)) for values in maps.values()]
    figure, grid = new_grid(len(images), 1 + len(maps), 1.3)
    for k, (row, name) in enumerate(zip(grid, names, strict=True)):
        _outlined(row[0], images[k], masks[k])
        row[0].set_ylabel(name, fontsize=8)
        for axes, values, (low, high) in zip(row[1:], maps.values(), ranges, strict=True):
            axes.imshow(values[k], cmap="inferno", vmin=low, vmax=high)
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("image", *maps), strict=True):
        axes.set_title(title, fontsize=8)
    return figure


def clouds(panels: Mapping[str, Mapping[str, tuple[Array, Array]]], xlabel: str, ylabel: str) -> Figure:
    """Point clouds `(x, y)` by name, a panel a title, on shared axes; the first name is blue, the second orange."""
    figure, grid = new_grid(1, len(panels), 2.4)
    for axes, (title, groups) in zip(grid[0], panels.items(), strict=True):
        for (name, (x, y)), color, marker in zip(groups.items(), (NORMAL, ANOMALOUS), ".x", strict=False):
            axes.plot(x, y, marker, color=color, markersize=3, alpha=0.5, label=name, rasterized=True)
        axes.set_title(title, fontsize=9)
        axes.set(xlabel=xlabel, xscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel(ylabel)
    grid[0, -1].legend(frameon=False, fontsize=8, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def up_sampled(cells: Array, lines: Mapping[str, Array]) -> Figure:
    """Values of a row of cells as dots at the middle of their pixels, and up-sampled lines `(W,)` by name."""
    figure, grid = new_grid(1, 1, 1)
    figure.set_size_inches(5.2, 2.6)
    axes = grid[0, 0]
    width = len(next(iter(lines.values())))
    stride = width // len(cells)
    for (name, values), style in zip(lines.items(), ("-", "--", ":"), strict=False):
        axes.plot(values, style, label=name, color=ACCENT if style == ":" else NORMAL if style == "-" else ANOMALOUS)
    axes.plot(stride * (np.arange(len(cells)) + 0.5) - 0.5, cells, "ko", markersize=5, label="cells")
    for border in range(0, width + 1, stride):
        axes.axvline(border - 0.5, color=FAINT, linewidth=0.7, zorder=0)
    axes.set(xlabel="pixel", ylabel="value")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def scores_and_rules(scores: Array, labels: NDArray[np.bool_], rules: Sequence[Threshold]) -> Figure:
    """Scores `(N,)` of normal and anomalous images as a histogram, and where each rule cuts."""
    figure, grid = new_grid(1, 1, 1)
    figure.set_size_inches(6.2, 3.0)
    axes = grid[0, 0]
    bins = np.linspace(scores.min(), scores.max(), 31)
    axes.hist(scores[~labels], bins, color=NORMAL, alpha=0.75, label="normal")
    axes.hist(scores[labels], bins, color=ANOMALOUS, alpha=0.6, label="anomalous")
    for rule in rules:
        style, color = LINES[rule.strategy]
        axes.axvline(rule.value, linestyle=style, color=color, linewidth=1.8, label=f"{rule.strategy} {rule.value:.3f}")
    axes.set(xlabel="image score (higher is more anomalous)", ylabel="images")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def rates(found: Array, promised: float, step: float) -> Figure:
    """How often each false alarm rate was found, multiples of `step`, with the promise dashed and the mean dotted."""
    figure, grid = new_grid(1, 1, 1)
    figure.set_size_inches(5.2, 2.6)
    axes = grid[0, 0]
    values, counts = np.unique(np.round(found / step), return_counts=True)
    axes.bar(values * step, counts / counts.sum(), 0.7 * step, color=NORMAL)
    axes.axvline(promised, linestyle="--", color=ACCENT, label=f"promised {promised:.3f}")
    axes.axvline(float(found.mean()), linestyle=":", color=ANOMALOUS, linewidth=2, label=f"mean {found.mean():.3f}")
    axes.set(xlabel="false alarm rate among new normal images", ylabel="share of draws")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def marked(
    images: Tensor,
    masks: NDArray[np.bool_],
    maps: Array,
    threshold: float,
    boxes: Sequence[Sequence[Box]],
    names: Sequence[str],
) -> Figure:
    """Images in a row with the true outline, the contour at `threshold`, and the boxes `boxes[k]` of image k."""
    from matplotlib.patches import Rectangle

    figure, grid = new_grid(1, len(images), 1.8)
    for axes, image, mask, values, found, name in zip(grid[0], images, masks, maps, boxes, names, strict=True):
        _outlined(axes, image, mask)
        axes.set_title(name, fontsize=8)
        if values.min() < threshold < values.max():
            # Dashes would mean "below zero", as all these scores are.
            axes.contour(values, levels=[threshold], colors=ALARM_LINE, linewidths=1.2, linestyles="solid")
        for rows, columns in found:
            corner, width = (columns.start - 0.5, rows.start - 0.5), columns.stop - columns.start
            box = Rectangle(corner, width, rows.stop - rows.start, fill=False, color=BOX_LINE, linewidth=1.2)
            axes.add_patch(box)
    return figure


def _outlined(axes: Axes, image: Tensor, mask: NDArray[np.bool_]) -> None:
    picture(axes, image)
    axes.set(xticks=[], yticks=[])
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=MASK_LINE, linewidths=0.8)
