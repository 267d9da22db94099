"""Figures of a flow's latents: values before and after beside the standard normal, and pairs of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fastflow_lite.figures.layout import name_row, new_grid, open_frame, set_title, title_columns
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, NORMAL, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pair = tuple[Tensor, Tensor]  # the same quantity before and after, or real and sampled
LEVELS = np.linspace(0.005, 0.995, 100)  # of the quantiles that QQ plots draw


def by_channel(maps: Tensor) -> Tensor:
    """Return maps `(B, C, H, W)` as `(C, B * H * W)`: every value of a channel in a row.

    >>> import torch
    >>> by_channel(torch.zeros(2, 3, 4, 5)).shape
    torch.Size([3, 40])
    """
    return maps.transpose(0, 1).flatten(1)


def channel_histograms(rows: Mapping[str, Mapping[str, Pair]], reach: float = 4.0) -> Figure:
    """Draw rows of panels, each the values `(N,)` of a channel before and after, beside the standard normal.

    The names are those of the row and of the panel. Values beyond `reach` are counted in the outermost bins.
    """
    figure, grid = new_grid(len(rows), len(next(iter(rows.values()))), 1.75)
    bins, line = np.linspace(-reach, reach, 41).tolist(), np.linspace(-reach, reach, 161)
    for axes_row, (row, panels) in zip(grid, rows.items(), strict=True):
        for axes, (title, (x, z)) in zip(axes_row, panels.items(), strict=True):
            for values, color, name in ((x, NORMAL, "before: x"), (z, ANOMALOUS, "after: z")):
                axes.hist(values.clamp(-reach, reach).numpy(), bins, density=True, color=color, alpha=0.6, label=name)
            axes.plot(line, np.exp(-(line**2) / 2) / np.sqrt(2 * np.pi), color=TRUTH, linewidth=1.2, label="N(0, 1)")
            set_title(axes, title)
            axes.set(yticks=[], ylim=(0, 1.2), xlim=(-reach, reach))
            axes.spines[["top", "right", "left"]].set_visible(False)
        name_row(axes_row[0], row)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def qq_plots(panels: Mapping[str, Pair], reach: float = 4.0) -> Figure:
    """Draw panels by name: quantiles of channels `(C, N)` before and after over those of the standard normal.

    A thin line is a channel, a thick one their median. A normal channel lies on the diagonal.
    """
    from scipy.stats import norm

    figure, grid = new_grid(1, len(panels), 2.6)
    expected = norm.ppf(LEVELS)
    for axes, pair in zip(grid[0], panels.values(), strict=True):
        for values, color, name in zip(pair, (NORMAL, ANOMALOUS), ("before: x", "after: z"), strict=True):
            lines = np.quantile(values.numpy(), LEVELS, axis=1)  # (levels, C)
            axes.plot(expected, lines[:, :: max(1, lines.shape[1] // 32)], color=color, linewidth=0.5, alpha=0.25)
            axes.plot(expected, np.median(lines, axis=1), color=color, linewidth=2.2, label=name)
        _diagonal(axes, reach, "N(0, 1)")
        axes.set_xlabel("quantile of N(0, 1)")
    title_columns(grid[0], list(panels))
    grid[0][0].set_ylabel("quantile of a channel")
    grid[0][0].legend(frameon=False, loc="upper left")
    return figure


def _diagonal(axes: Axes, reach: float, name: str) -> None:
    axes.plot([-reach, reach], [-reach, reach], color=TRUTH, linewidth=1.0, label=name)
    axes.set(xlim=(-2.7, 2.7), ylim=(-reach, reach))
    axes.axhline(0, color=ACCENT, linewidth=0.3)
    open_frame(axes)


def paired_values(panels: Mapping[str, Pair], xlabel: str, ylabel: str) -> Figure:
    """Draw panels by name, each with a dot `(x, y)` for each entry of two tensors `(N,)`, and the diagonal x = y."""
    figure, grid = new_grid(1, len(panels), 2.2)
    for axes, (x, y) in zip(grid[0], panels.values(), strict=True):
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        edge = 0.05 * (high - low)
        axes.plot([low - edge, high + edge], [low - edge, high + edge], color=TRUTH, linewidth=0.9)
        axes.plot(x, y, "o", color=NORMAL, markersize=2.5, alpha=0.5, markeredgewidth=0)
        axes.set(xlim=(low - edge, high + edge), ylim=(low - edge, high + edge), aspect="equal")
        axes.set_xlabel(xlabel)
        open_frame(axes)
    title_columns(grid[0], list(panels))
    grid[0][0].set_ylabel(ylabel)
    return figure
