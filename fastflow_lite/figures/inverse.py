"""Figures of what a flow did: values before and after, noise painted into a latent, samples beside real features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.figures.plots import new_grid, picture
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, NORMAL, REGION_LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastflow_lite.course.latent_edits import Edit

Pair = tuple[Tensor, Tensor]  # the same quantity before and after, or real and sampled
LEVELS = np.linspace(0.005, 0.995, 100)  # of the quantiles that QQ plots draw


def by_channel(maps: Tensor) -> Tensor:
    """Maps `(B, C, H, W)` as `(C, B * H * W)`: every value of a channel in a row.

    >>> by_channel(torch.zeros(2, 3, 4, 5)).shape
    torch.Size([3, 40])
    """
    return maps.transpose(0, 1).flatten(1)


def histograms(rows: Mapping[str, Mapping[str, Pair]], reach: float = 4.0) -> Figure:
    """Rows of panels, each the values `(N,)` of a channel before and after, beside the standard normal.

    The names are those of the row and of the panel. Values beyond `reach` are counted in the outermost bins.
    """
    figure, grid = new_grid(len(rows), len(next(iter(rows.values()))), 1.75)
    bins, line = np.linspace(-reach, reach, 41), np.linspace(-reach, reach, 161)
    for axes_row, (row, panels) in zip(grid, rows.items(), strict=True):
        for axes, (title, (x, z)) in zip(axes_row, panels.items(), strict=True):
            for values, color, name in ((x, NORMAL, "before: x"), (z, ANOMALOUS, "after: z")):
                axes.hist(values.clamp(-reach, reach).numpy(), bins, density=True, color=color, alpha=0.6, label=name)
            axes.plot(line, np.exp(-(line**2) / 2) / np.sqrt(2 * np.pi), color="black", linewidth=1.2, label="N(0, 1)")
            axes.set_title(title, fontsize=8)
            axes.set(yticks=[], ylim=(0, 1.2), xlim=(-reach, reach))
            axes.spines[["top", "right", "left"]].set_visible(False)
        axes_row[0].set_ylabel(row, fontsize=8)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def qq(panels: Mapping[str, Pair], reach: float = 4.0) -> Figure:
    """Panels by name: quantiles of channels `(C, N)` before and after over those of the standard normal.

    A thin line is a channel, a thick one their median. A normal channel lies on the diagonal.
    """
    from scipy.stats import norm

    figure, grid = new_grid(1, len(panels), 2.6)
    expected = norm.ppf(LEVELS)
    for axes, (title, pair) in zip(grid[0], panels.items(), strict=True):
        for values, color, name in zip(pair, (NORMAL, ANOMALOUS), ("before: x", "after: z"), strict=True):
            lines = np.quantile(values.numpy(), LEVELS, axis=1)  # (levels, C)
            axes.plot(expected, lines[:, :: max(1, lines.shape[1] // 32)], color=color, linewidth=0.5, alpha=0.25)
            axes.plot(expected, np.median(lines, axis=1), color=color, linewidth=2.2, label=name)
        _diagonal(axes, reach, "N(0, 1)")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("quantile of N(0, 1)")
    grid[0][0].set_ylabel("quantile of a channel")
    grid[0][0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def pairs(panels: Mapping[str, Pair], xlabel: str, ylabel: str) -> Figure:
    """Panels by name, each a dot `(x, y)` for each entry of two tensors `(N,)`, with the diagonal x = y."""
    figure, grid = new_grid(1, len(panels), 2.2)
    for axes, (title, (x, y)) in zip(grid[0], panels.items(), strict=True):
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        edge = 0.05 * (high - low)
        axes.plot([low - edge, high + edge], [low - edge, high + edge], color="black", linewidth=0.9)
        axes.plot(x, y, "o", color=NORMAL, markersize=2.5, alpha=0.5, markeredgewidth=0)
        axes.set(xlim=(low - edge, high + edge), ylim=(low - edge, high + edge), aspect="equal")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(xlabel, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylabel(ylabel, fontsize=8)
    return figure


def painting(image: Tensor, done: Edit, seen: Tensor, field: Tensor, index: int = 0) -> Figure:
    """An `image` `(3, H, W)` and one edit of it: latent energy before and after, change of features, second opinion.

    `seen` `(B, h, w)`: the energy that another flow finds in the changed features. The region is outlined, and
    dashed the mask `field` `(h, w)`, which the change can reach. The change is drawn on a logarithmic scale over six
    decades.
    """
    before, after = (z.square().mean(dim=1)[index] / 2 for z in (done.z, done.painted))
    change = done.change[index].clamp(min=1e-30).log10()
    high = float(after.max())
    figure, grid = new_grid(1, 5, 1.9)
    figure.set_figheight(2.6)
    picture(grid[0][0], image)
    drawn = (
        ("energy of z", before, 0.0, high),
        ("z, painted", after, 0.0, high),
        ("change of features\n(log10)", change, float(change.max()) - 6, float(change.max())),
        ("energy, by\nthe other flow", seen[index], 0.0, float(seen[index].quantile(0.995))),
    )
    for axes, (title, values, low, top) in zip(grid[0][1:], drawn, strict=True):
        drawing = axes.imshow(values.numpy(), cmap="inferno", vmin=low, vmax=top)
        figure.colorbar(drawing, cax=axes.inset_axes((0.1, -0.12, 0.8, 0.05)), orientation="horizontal")
        axes.set_title(title, fontsize=8)
    _outlines(grid[0], done.region, field, image.shape[-1] / done.region.shape[-1])
    grid[0][0].set_title("image", fontsize=8)
    return figure


def channel_maps(rows: Mapping[str, Sequence[Tensor]]) -> Figure:
    """Rows by name of single channels `(H, W)`; each column has one color scale, that of its first row."""
    columns = len(next(iter(rows.values())))
    figure, grid = new_grid(len(rows), columns, 1.4)
    first = next(iter(rows.values()))
    for axes_row, (name, maps) in zip(grid, rows.items(), strict=True):
        axes_row[0].set_ylabel(name, fontsize=8)
        for axes, values, scale in zip(axes_row, maps, first, strict=True):
            axes.imshow(values.numpy(), cmap="viridis", vmin=float(scale.min()), vmax=float(scale.max()))
            axes.set(xticks=[], yticks=[])
    return figure


def _outlines(panels: Sequence[Axes], region: Tensor, reached: Tensor, stride: float) -> None:
    """The region solid and its surroundings dashed on every panel; the first shows the image, `stride` times larger."""
    for axes, scale in zip(panels, (stride, *[1.0] * (len(panels) - 1)), strict=True):
        for mask, style in ((region, "solid"), (reached, (0, (2, 2)))):
            rows, columns = (torch.where(mask.any(dim=d))[0] for d in (1, 0))
            corner = (float(columns[0]) * scale - 0.5, float(rows[0]) * scale - 0.5)
            _rectangle(axes, corner, len(columns) * scale, len(rows) * scale, style)
        axes.set(xticks=[], yticks=[])


def _rectangle(axes: Axes, corner: tuple[float, float], width: float, height: float, style: object) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=REGION_LINE, linestyle=style, linewidth=1.3))


def _diagonal(axes: Axes, reach: float, name: str) -> None:
    axes.plot([-reach, reach], [-reach, reach], color="black", linewidth=1.0, label=name)
    axes.set(xlim=(-2.7, 2.7), ylim=(-reach, reach))
    axes.axhline(0, color=ACCENT, linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
