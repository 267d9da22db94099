"""Figures of flows on the plane: points, densities, and what a map or the steps of a flow do to a grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.figures.layout import name_row, new_grid, set_title, title_columns
from fastflow_lite.figures.style import ACCENT, AMOUNTS, ANOMALOUS, GOLD, NORMAL
from fastflow_lite.flows.likelihood import log_density
from fastflow_lite.flows.sampling import sample, stages
from fastflow_lite.flows.transforms import Sequential, Transform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

REACH = 3.2  # every figure shows the plane from -REACH to REACH
CORNERS = ((-1.75, -0.25), (-0.25, 0.75), (1.25, -0.75))  # lower left, of the colored squares of side 0.5


def scatter(axes: Axes, x: Tensor, part: Tensor | None = None, size: float = 2.0) -> None:
    """Draw points `(N, 2)`, in two colors if `part` `(N,)` is given: 0 or another number for each point."""
    colors = NORMAL if part is None else np.where(part.numpy() == 0, NORMAL, GOLD)
    across, up = x.T.numpy()
    axes.scatter(across, up, s=size, c=colors, linewidths=0, rasterized=True)


def frame(axes: Axes, title: str = "", reach: float = REACH) -> None:
    """Show the plane from -`reach` to `reach` on both axes, with ticks at whole even numbers."""
    ticks = [tick for tick in (-2, 0, 2) if abs(tick) < reach]
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=ticks, yticks=ticks, aspect="equal")
    axes.label_outer()
    set_title(axes, title)


def draw_grid(axes: Axes, lines: Tensor, alpha: float = 0.5) -> None:
    """Draw lines `(K, N, 2)` thinly in gray."""
    for line in lines.numpy():
        axes.plot(*line.T, color=ACCENT, linewidth=0.4, alpha=alpha)


def grid_lines(count: int = 21, resolution: int = 400, reach: float = 2.5) -> Tensor:
    """Return lines `(2 * count, resolution, 2)` across the plane: first those along the first axis."""
    along, at = torch.linspace(-reach, reach, resolution), torch.linspace(-reach, reach, count)
    flat = torch.stack([along.expand(count, -1), at[:, None].expand(-1, resolution)], dim=2)
    return torch.cat([flat, flat.flip(2)])


def point_clouds(clouds: Mapping[str, Tensor], part: Tensor | None = None, reach: float = REACH) -> Figure:
    """Draw sets of points `(N, 2)` side by side, by name."""
    figure, grid = new_grid(1, len(clouds), 2.1)
    for axes, (name, x) in zip(grid[0], clouds.items(), strict=True):
        scatter(axes, x, part)
        frame(axes, name, reach)
    return figure


@torch.no_grad()
def transformed_planes(views: Mapping[str, Callable[[Tensor], Tensor]], reach: float = REACH) -> Figure:
    """Draw a grid of the plane and three squares of it after each map `(N, 2) -> (N, 2)`, by name, side by side."""
    lines, squares = grid_lines(), _squares()
    figure, grid = new_grid(1, len(views), 2.3)
    for axes, (name, view) in zip(grid[0], views.items(), strict=True):
        draw_grid(axes, view(lines.reshape(-1, 2)).reshape(lines.shape))
        for square, color in zip(squares, (NORMAL, GOLD, ANOMALOUS), strict=True):
            axes.fill(*view(square).T.numpy(), color=color, alpha=0.9, linewidth=0)
        frame(axes, name, reach)
    return figure


def _squares(side: float = 0.5, resolution: int = 50) -> list[Tensor]:
    """Return the outlines `(4 * resolution, 2)` of the colored squares, with enough points to show bent edges."""
    along, flat = torch.linspace(0, side, resolution), torch.zeros(resolution)
    edges = ((along, flat), (flat + side, along), (along.flip(0), flat + side), (flat, along.flip(0)))
    outline = torch.cat([torch.stack(edge, dim=1) for edge in edges])
    return [outline + torch.tensor(corner) for corner in CORNERS]


@torch.no_grad()
def density_on_grid(flow: Transform, reach: float = REACH, resolution: int = 160) -> np.ndarray:
    """Return the density of `flow` on a grid `(resolution, resolution)` of the plane, rows along the second axis."""
    axis = torch.linspace(-reach, reach, resolution)
    density = log_density(flow, torch.cartesian_prod(axis, axis)).exp()
    return density.reshape(resolution, resolution).T.numpy()


def show_density(axes: Axes, density: np.ndarray, top: float, reach: float = REACH) -> AxesImage:
    """Draw a density from `density_on_grid`, dark where it is high, the darkest from `top` on."""
    extent = (-reach, reach, -reach, reach)
    return axes.imshow(density, cmap=AMOUNTS, vmin=0, vmax=top, origin="lower", extent=extent)


def flow_densities(flows: Mapping[str, Transform], reach: float = REACH) -> Figure:
    """Draw the density of each flow on the plane, by name, on one color scale, dark where it is high."""
    densities = {name: density_on_grid(flow, reach) for name, flow in flows.items()}
    top = max(float(np.quantile(density, 0.999)) for density in densities.values())
    figure, grid = new_grid(1, len(flows), 2.3)
    for axes, (name, density) in zip(grid[0], densities.items(), strict=True):
        drawn = show_density(axes, density, top, reach)
        frame(axes, name, reach)
    figure.colorbar(drawn, ax=grid, label="density", shrink=0.8, extend="max")
    return figure


def samples_and_density(rows: Mapping[str, tuple[Tensor, Transform]]) -> Figure:
    """Draw a row for each set of points `(N, 2)` and its flow: the points, as many samples, the density."""
    figure, grid = new_grid(len(rows), 3, 1.6)
    for panels, (name, (x, flow)) in zip(grid, rows.items(), strict=True):
        density = density_on_grid(flow)
        scatter(panels[0], x)
        scatter(panels[1], sample(flow, len(x)))
        show_density(panels[2], density, float(np.quantile(density, 0.995)))
        for axes in panels:
            frame(axes)
        name_row(panels[0], name)
    title_columns(grid[0], ("data", "samples", "density"))
    return figure


@torch.no_grad()
def flow_step_grids(rows: Mapping[str, tuple[Tensor, Tensor, Sequential]], chosen: Sequence[int]) -> Figure:
    """Draw a row for each set of points: they and a grid of the plane after the `chosen` steps of its flow.

    `rows` holds points `(N, 2)`, the part `(N,)` to which each belongs, and the flow. Step 0 is the data.
    """
    lines = grid_lines(9)
    figure, grid = new_grid(len(rows), len(chosen), 1.5)
    for panels, (name, (x, part, flow)) in zip(grid, rows.items(), strict=True):
        moved_lines, moved = stages(flow, lines.reshape(-1, 2)), stages(flow, x)
        for axes, k in zip(panels, chosen, strict=True):
            draw_grid(axes, moved_lines[k].reshape(lines.shape), alpha=0.6)
            scatter(axes, moved[k], part)
            frame(axes, f"after step {k}" if k else "data")
        name_row(panels[0], name)
    return figure
