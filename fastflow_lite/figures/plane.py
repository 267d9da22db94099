"""Figures of the plane: points, the density of a flow, and what its steps do to the points and to a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.figures.plots import new_grid
from fastflow_lite.figures.style import ACCENT, GOLD, NORMAL
from fastflow_lite.flows.likelihood import log_density
from fastflow_lite.flows.sampling import sample, stages
from fastflow_lite.flows.transforms import Sequential, Transform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REACH = 3.2  # every figure shows the plane from -REACH to REACH


def scatter(axes: Axes, x: Tensor, part: Tensor | None = None, size: float = 2.0) -> None:
    """Points `(N, 2)`, in two colors where `part` says which is which."""
    colors = NORMAL if part is None else np.where(part.numpy() == 0, NORMAL, GOLD)
    across, up = x.T.numpy()
    axes.scatter(across, up, s=size, c=colors, linewidths=0, rasterized=True)


def frame(axes: Axes, title: str = "", reach: float = REACH) -> None:
    """The plane from -`reach` to `reach` on both axes, ticks off."""
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
    axes.set_title(title, fontsize=9)


def draw_clouds(clouds: Mapping[str, Tensor], part: Tensor | None = None, reach: float = REACH) -> Figure:
    """Clouds of points `(N, 2)` side by side, by name."""
    figure, grid = new_grid(1, len(clouds), 2.1)
    for axes, (name, x) in zip(grid[0], clouds.items(), strict=True):
        scatter(axes, x, part)
        frame(axes, name, reach)
    return figure


def show_density(axes: Axes, flow: Transform, resolution: int = 160) -> None:
    """The density of `flow` over the plane, dark where it is high."""
    axis = torch.linspace(-REACH, REACH, resolution)
    plane = torch.cartesian_prod(axis, axis)
    values = log_density(flow, plane).exp().reshape(resolution, resolution).T.numpy()
    extent = (-REACH, REACH, -REACH, REACH)
    axes.imshow(values, origin="lower", extent=extent, cmap="Blues", vmin=0, vmax=np.quantile(values, 0.995))


def draw_learned(rows: Mapping[str, tuple[Tensor, Transform]]) -> Figure:
    """A row for each set of points and its flow: the points, as many samples, the density."""
    figure, grid = new_grid(len(rows), 3, 2.1)
    for line, (name, (x, flow)) in zip(grid, rows.items(), strict=True):
        scatter(line[0], x)
        scatter(line[1], sample(flow, len(x)))
        show_density(line[2], flow)
        for axes in line:
            frame(axes)
        line[0].set_ylabel(name)
    for axes, title in zip(grid[0], ("data", "samples", "density"), strict=True):
        axes.set_title(title, fontsize=9)
    return figure


@torch.no_grad()
def draw_stages(rows: Mapping[str, tuple[Tensor, Tensor, Sequential]], chosen: Sequence[int]) -> Figure:
    """A row for each set of points: they and a grid of the plane after the `chosen` steps of its flow.

    `rows` holds points `(N, 2)`, which part each is of, `(N,)`, and the flow. Step 0 is before the first.
    """
    lines = grid_lines()
    figure, grid = new_grid(len(rows), len(chosen), 2.0)
    for panels, (name, (x, part, flow)) in zip(grid, rows.items(), strict=True):
        carried, moved = stages(flow, lines.reshape(-1, 2)), stages(flow, x)
        for axes, k in zip(panels, chosen, strict=True):
            for line in carried[k].reshape(lines.shape).numpy():
                axes.plot(*line.T, color=ACCENT, linewidth=0.4, alpha=0.6)
            scatter(axes, moved[k], part)
            frame(axes, f"after step {k}" if k else "data")
        panels[0].set_ylabel(name)
    return figure


def grid_lines(count: int = 21, resolution: int = 400, reach: float = 2.5) -> Tensor:
    """Lines `(2 * count, resolution, 2)` across the plane: first those along the first axis."""
    along, at = torch.linspace(-reach, reach, resolution), torch.linspace(-reach, reach, count)
    flat = torch.stack([along.expand(count, -1), at[:, None].expand(-1, resolution)], dim=2)
    return torch.cat([flat, flat.flip(2)])


def draw_losses(curves: Mapping[str, Sequence[float]], levels: Mapping[str, float] | None = None) -> Figure:
    """Losses by training step, by name, in nats per point; `levels` are lines across, by name.

    Beyond 100 nats the axis is logarithmic, and a second panel shows the last four fifths on a plain one.
    """
    tall = max(max(losses) for losses in curves.values()) > 100
    figure, grid = new_grid(1, 2 if tall else 1, 3.3)
    figure.set_size_inches(6.6 if tall else 5.2, 2.6)
    for axes, begin in zip(grid[0], (0, 0.2), strict=False):
        for (name, losses), color in zip(curves.items(), (NORMAL, GOLD, ACCENT), strict=False):
            first = int(begin * len(losses))
            axes.plot(range(first + 1, len(losses) + 1), losses[first:], color=color, label=name, linewidth=1.2)
        for name, level in (levels or {}).items():
            axes.axhline(level, color=ACCENT, linestyle="--", linewidth=1.0, label=name)
        axes.set_xlabel("training step")
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set(ylabel="nats per point", yscale="log" if tall else "linear")
    grid[0, 0].legend(frameon=False, fontsize=8)
    return figure
