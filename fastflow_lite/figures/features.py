"""Figures of features: each scale in false colors, single channels, the pixels a cell depends on, tables of shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.figures.layout import hide_ticks, name_row, new_grid, set_title, show_image, show_map, title_columns
from fastflow_lite.figures.style import AMOUNTS, MASK_LINE, VALUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def false_colors(maps: Tensor) -> Tensor:
    """Return the three main components of each of the maps `(N, C, h, w)` as colors `(N, 3, h, w)` in 0..1."""
    return torch.stack([_main_components(one) for one in maps])


def _main_components(one: Tensor) -> Tensor:
    flat = one.flatten(1).T  # (h * w, C)
    flat = flat - flat.mean(dim=0)
    _, vectors = torch.linalg.eigh(flat.T @ flat)  # ascending
    parts = flat @ vectors[:, -3:].flip(1)
    low, high = (torch.quantile(parts, q, dim=0) for q in (0.02, 0.98))
    return ((parts - low) / (high - low)).clamp(0, 1).T.reshape(3, *one.shape[1:])


def scales_in_color(images: Tensor, scales: Mapping[str, Tensor]) -> Figure:
    """Draw a row for each of the images `(N, 3, H, W)`, then `false_colors` of its map at each scale."""
    colors = {name: false_colors(maps) for name, maps in scales.items()}
    figure, grid = new_grid(len(images), 1 + len(scales), 1.75)
    for k, row in enumerate(grid):
        for axes, pictures in zip(row, (images, *colors.values()), strict=True):
            show_image(axes, pictures[k])
    title_columns(grid[0], ("image", *scales))
    return figure


def channel_maps(rows: Mapping[str, Sequence[Tensor]]) -> Figure:
    """Draw rows by name of single channels `(H, W)`; each column has one color scale, that of its first row."""
    first = next(iter(rows.values()))
    figure, grid = new_grid(len(rows), len(first), 1.4)
    for axes_row, (name, maps) in zip(grid, rows.items(), strict=True):
        name_row(axes_row[0], name)
        for axes, values, scale in zip(axes_row, maps, first, strict=True):
            axes.imshow(values.numpy(), cmap=VALUES, vmin=float(scale.min()), vmax=float(scale.max()))
            hide_ticks(axes)
    return figure


def receptive_fields(
    rows: Mapping[str, Sequence[Tensor]],
    titles: Sequence[str],
    middle: Sequence[float],
    boxes: Mapping[str, Sequence[Sequence[int]]],
    decades: tuple[float, float] = (-5, 0),
) -> Figure:
    """Draw sensitivities to pixels `(H, W)`, a row for each network, on a logarithmic scale between two `decades`.

    `boxes[name][column]` are the sides in pixels of two squares around the pixel `middle`: the first is dashed, the
    second solid; a side of 0 is not drawn.
    """
    figure, grid = new_grid(len(rows), len(titles), 2.0)
    for row, (name, maps) in zip(grid, rows.items(), strict=True):
        for axes, values, sides in zip(row, maps, boxes[name], strict=True):
            shown = torch.log10(values / values.max()).clamp_min(decades[0])
            drawn = show_map(axes, shown.numpy(), *decades)
            for side, line in zip(sides, ("--", "-"), strict=True):
                _square(axes, middle, side, line)
        name_row(row[0], name)
    title_columns(grid[0], titles)
    beyond = "max" if decades[1] < 0 else "neither"
    bar = figure.colorbar(drawn, ax=grid, shrink=0.8, aspect=15 * len(grid), extend=beyond)
    bar.set_label("power of ten below\nthe strongest pixel")
    return figure


def _square(axes: Axes, middle: Sequence[float], side: int, line: str) -> None:
    from matplotlib.patches import Rectangle

    if side:
        corner = (middle[1] - side / 2, middle[0] - side / 2)
        axes.add_patch(Rectangle(corner, side, side, fill=False, color=MASK_LINE, linestyle=line, linewidth=1.2))


def share_tables(tables: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]) -> Figure:
    """Draw square tables of shares up to 1, by title, with a number in each cell.

    `names[title]` are the names of the rows and of the columns.
    """
    figure, grid = new_grid(1, len(tables), 2.4)
    for axes, (title, table) in zip(grid[0], tables.items(), strict=True):
        axes.imshow(table, cmap=AMOUNTS, vmin=0, vmax=1.4)
        for (row, column), value in np.ndenumerate(table):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center")
        axes.set_xticks(range(len(table)), names[title])
        axes.set_yticks(range(len(table)), names[title])
        set_title(axes, title)
        axes.set_xlabel("predicted from")
    grid[0, 0].set_ylabel("predicted map")
    return figure
