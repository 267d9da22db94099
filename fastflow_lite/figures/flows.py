"""Figures of one transform: the plane before and after, its Jacobian, its density, and who noticed a mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.figures.plane import frame, grid_lines
from fastflow_lite.figures.plots import new_grid
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, FAINT, GOLD, GUIDE, LINES, NORMAL
from fastflow_lite.flows.likelihood import log_density
from fastflow_lite.flows.transforms import Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Map = Callable[[Tensor], Tensor]

CORNERS = ((-1.75, -0.25), (-0.25, 0.75), (1.25, -0.75))  # lower left, of the colored squares of side 0.5


@torch.no_grad()
def plane(views: Mapping[str, Map], reach: float = 3.2) -> Figure:
    """A grid of the plane and three squares of it after each map `(N, 2) -> (N, 2)`, by name, side by side."""
    lines, squares = grid_lines(), _squares()
    figure, grid = new_grid(1, len(views), 2.3)
    for axes, (name, view) in zip(grid[0], views.items(), strict=True):
        for line in view(lines.reshape(-1, 2)).reshape(lines.shape).numpy():
            axes.plot(*line.T, color=ACCENT, linewidth=0.4, alpha=0.5)
        for square, color in zip(squares, (NORMAL, GOLD, ANOMALOUS), strict=True):
            axes.fill(*view(square).T.numpy(), color=color, alpha=0.9, linewidth=0)
        frame(axes, name, reach)
    return figure


@torch.no_grad()
def densities(flows: Mapping[str, Transform], reach: float = 3.2, resolution: int = 160) -> Figure:
    """The density that each flow claims on the plane, by name. One color scale for all, dark is high."""
    axis = torch.linspace(-reach, reach, resolution)
    points = torch.cartesian_prod(axis, axis)
    values = [log_density(flow, points).exp().reshape(resolution, resolution).T.numpy() for flow in flows.values()]
    top = max(float(np.quantile(v, 0.999)) for v in values)
    figure, grid = new_grid(1, len(flows), 2.3)
    for axes, name, value in zip(grid[0], flows, values, strict=True):
        axes.imshow(value, origin="lower", extent=(-reach, reach, -reach, reach), cmap="Blues", vmin=0, vmax=top)
        frame(axes, name, reach)
    return figure


def matrix(values: Tensor, half: int, names: Sequence[str]) -> Figure:
    """A Jacobian `(C, C)` with its numbers, cut into four blocks after `half` rows and columns.

    `names` are the blocks' names: top left, top right, bottom left, bottom right.
    """
    size = len(values)
    figure, grid = new_grid(1, 1, 0.4 + 0.52 * size)
    axes, top = grid[0][0], float(values.abs().max())
    axes.imshow(values.abs(), cmap="Blues", vmin=0, vmax=1.4 * top)
    for row in range(size):
        for column in range(size):
            value = float(values[row, column])
            axes.text(column, row + 0.1, f"{value:.2f}" if value else "0", ha="center", va="center", fontsize=9)
    axes.axhline(half - 0.5, color=ANOMALOUS, linewidth=1.4)
    axes.axvline(half - 0.5, color=ANOMALOUS, linewidth=1.4)
    axes.set_xticks([(half - 1) / 2, (half + size - 1) / 2], ["by $x_a$", "by $x_b$"])
    axes.set_yticks([(half - 1) / 2, (half + size - 1) / 2], ["of $z_a$", "of $z_b$"])
    axes.tick_params(length=0)
    corners = [(x - 0.42, y - 0.42) for y in (0, half) for x in (0, half)]
    for name, corner in zip(names, corners, strict=True):
        axes.text(*corner, name, ha="left", va="top", color=ANOMALOUS, fontsize=9)
    return figure


def curves(panels: Mapping[str, Mapping[str, Tensor]], x: Tensor, xlabel: str, truth: float | None = None) -> Figure:
    """Panels side by side by title, each with lines `(N,)` over `x` by name; `truth` is a level in the first panel.

    A line keeps its color and dashes from panel to panel.
    """
    figure, grid = new_grid(1, len(panels), 3.3)
    figure.set_figheight(2.9)
    looks = dict(zip(dict.fromkeys(name for lines in panels.values() for name in lines), LINES, strict=False))
    unnamed = set(looks)
    if truth is not None:
        grid[0][0].axhline(truth, color="black", linewidth=1.0, label="truth")
    for axes, (title, lines) in zip(grid[0], panels.items(), strict=True):
        for name, values in lines.items():
            color, style = looks[name]
            axes.plot(x, values, style, color=color, label=name if name in unnamed else None, linewidth=1.4)
        if unnamed & set(lines):  # each line is named once
            axes.legend(frameon=False, fontsize=8)
            unnamed -= set(lines)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(xlabel)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def tiles(maps: Mapping[str, Tensor]) -> Figure:
    """Maps `(H, W)` of values from 0 up, by name, side by side on one color scale."""
    top = max(float(values.max()) for values in maps.values())
    figure, grid = new_grid(1, len(maps), 2.2)
    for axes, (name, values) in zip(grid[0], maps.items(), strict=True):
        axes.pcolormesh(values.numpy(), cmap="Blues", vmin=0, vmax=top, edgecolors=FAINT, linewidth=0.4)
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.set_title(name, fontsize=9)
    return figure


def verdicts(noticed: Mapping[str, Sequence[str]], checks: Sequence[str]) -> Figure:
    """Bugs as rows, `checks` as columns: filled where the check is in the bug's list, else an empty circle."""
    figure, grid = new_grid(1, 1, 1.0)
    figure.set_size_inches(1.8 + 0.85 * len(checks), 0.8 + 0.3 * len(noticed))
    axes, bugs = grid[0][0], list(noticed)
    for row, bug in enumerate(bugs):
        axes.axhline(row, color=FAINT, linewidth=0.6, zorder=0)
        for column, check in enumerate(checks):
            caught = check in noticed[bug]
            axes.plot(column, row, "s" if caught else "o", color=ANOMALOUS if caught else GUIDE,
                      markersize=13 if caught else 7, markerfacecolor=ANOMALOUS if caught else "white")  # fmt: skip
    axes.set_xticks(range(len(checks)), [check.replace(" ", "\n", 1) for check in checks], fontsize=8)
    axes.set_yticks(range(len(bugs)), bugs, fontsize=9)
    axes.set(xlim=(-0.5, len(checks) - 0.5), ylim=(len(bugs) - 0.4, -0.6))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _squares(side: float = 0.5, resolution: int = 50) -> list[Tensor]:
    """The outlines `(4 * resolution, 2)` of the colored squares, fine enough to bend."""
    along, flat = torch.linspace(0, side, resolution), torch.zeros(resolution)
    edges = ((along, flat), (flat + side, along), (along.flip(0), flat + side), (flat, along.flip(0)))
    outline = torch.cat([torch.stack(edge, dim=1) for edge in edges])
    return [outline + torch.tensor(corner) for corner in CORNERS]
