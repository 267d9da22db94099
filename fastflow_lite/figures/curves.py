"""Figures of curves: losses, lines over one quantity in panels, scattered values, and up-sampling in one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from fastflow_lite.figures.layout import Array, new_grid, new_panel, open_frame, title_columns
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, FAINT, GOLD, LINES, MARKED, NORMAL, TRUTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curve(bits_per_dim: Sequence[float], held_out: Sequence[float] = ()) -> Figure:
    """Draw the negative log-likelihood after each epoch, of training and of held-out images, in bits per dimension."""
    figure, axes = new_panel(5.2, 3.0)
    epochs = np.arange(1, len(bits_per_dim) + 1)
    axes.plot(epochs, bits_per_dim, "o-", color=NORMAL, label="training images (mean over the epoch)")
    if held_out:
        axes.plot(epochs, held_out, "s--", color=ACCENT, label="held-out normal images (after the epoch)")
    axes.set(xlabel="epoch", ylabel="bits per dimension")
    axes.locator_params(axis="x", integer=True)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))  # above, where no line can be
    return figure


def losses_by_step(losses: Mapping[str, Sequence[float]], levels: Mapping[str, float] | None = None) -> Figure:
    """Draw losses by training step, by name, in nats per point; `levels` are horizontal lines, by name.

    Beyond 100 nats the axis is logarithmic, and a second panel shows the last four fifths on a linear one.
    """
    tall = max(max(values) for values in losses.values()) > 100
    figure, grid = new_grid(1, 2 if tall else 1, 3.3)
    figure.set_size_inches(6.6 if tall else 5.2, 2.6)
    for axes, begin in zip(grid[0], (0, 0.2), strict=False):
        for (name, values), color in zip(losses.items(), (NORMAL, GOLD, ACCENT), strict=False):
            first = int(begin * len(values))
            axes.plot(range(first + 1, len(values) + 1), values[first:], color=color, label=name, linewidth=1.2)
        for name, level in (levels or {}).items():
            axes.axhline(level, color=ACCENT, linestyle="--", linewidth=1.0, label=name)
        axes.set_xlabel("training step")
        open_frame(axes)
    grid[0, 0].set(ylabel="nats per point", yscale="log" if tall else "linear")
    grid[0, 0].legend(frameon=False)
    return figure


def curve_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]], x: ArrayLike, xlabel: str, truth: float | None = None
) -> Figure:
    """Draw panels side by side by title, each with lines `(N,)` over `x` by name.

    A line keeps its color and dashes from panel to panel. `truth` is a horizontal line in the first panel.
    A legend stands inside its panel, of a single panel beside it.
    """
    figure, grid = new_grid(1, len(panels), 5.6 if len(panels) == 1 else 4.2)
    figure.set_figheight(3.2)
    looks = dict(zip(dict.fromkeys(name for lines in panels.values() for name in lines), LINES, strict=False))
    unnamed = set(looks)
    if truth is not None:
        grid[0][0].axhline(truth, color=TRUTH, linewidth=1.0, label="truth")
    for axes, lines in zip(grid[0], panels.values(), strict=True):
        for name, values in lines.items():
            color, style = looks[name]
            axes.plot(x, values, style, color=color, label=name if name in unnamed else None, linewidth=1.4)
        if unnamed & set(lines):  # each line is named once
            axes.legend(frameon=False, **({"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(panels) == 1 else {}))
            unnamed -= set(lines)
        axes.set_xlabel(xlabel)
        open_frame(axes)
    title_columns(grid[0], list(panels))
    return figure


def marked_curves(
    x: Sequence[float], lines: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, doubling: bool = False
) -> Figure:
    """Draw lines of few points over `x` by name, which differ in their markers too.

    With `doubling` the x axis is logarithmic, one step for each doubling.
    """
    figure, axes = new_panel(5.2, 3.0)
    for (name, values), (color, style) in zip(lines.items(), MARKED, strict=False):
        axes.plot(x, np.asarray(values), style, color=color, label=name, markersize=4)
    if doubling:
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def scatter_panels(panels: Mapping[str, Mapping[str, tuple[Array, Array]]], xlabel: str, ylabel: str) -> Figure:
    """Draw points `(x, y)` by name, a panel for each title, x logarithmic; the first name blue, the second orange."""
    figure, grid = new_grid(1, len(panels), 2.4)
    for axes, groups in zip(grid[0], panels.values(), strict=True):
        for (name, (x, y)), color, marker in zip(groups.items(), (NORMAL, ANOMALOUS), ".x", strict=False):
            axes.plot(x, y, marker, color=color, markersize=3, alpha=0.5, label=name, rasterized=True)
        axes.set(xlabel=xlabel, xscale="log")
        open_frame(axes)
    title_columns(grid[0], list(panels))
    grid[0, 0].set_ylabel(ylabel)
    grid[0, -1].legend(frameon=False, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def up_sampling(cells: Array, lines: Mapping[str, Array]) -> Figure:
    """Draw the values of a row of cells at the middle of their pixels, and up-sampled lines `(W,)` by name."""
    figure, axes = new_panel(5.2, 2.6)
    width = len(next(iter(lines.values())))
    stride = width // len(cells)
    for (name, values), style, color in zip(lines.items(), ("-", "--", ":"), (NORMAL, ANOMALOUS, ACCENT), strict=False):
        axes.plot(values, style, label=name, color=color)
    axes.plot(stride * (np.arange(len(cells)) + 0.5) - 0.5, cells, "o", color=TRUTH, markersize=5, label="cells")
    for border in range(0, width + 1, stride):
        axes.axvline(border - 0.5, color=FAINT, linewidth=0.7, zorder=0)
    axes.set(xlabel="pixel", ylabel="value")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
