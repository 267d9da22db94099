"""Figures of the change of variables: mass through a map of the line, areas through a map of the plane, a Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fastflow_lite.figures.layout import Array, new_grid, open_frame
from fastflow_lite.figures.style import ACCENT, AMOUNTS, ANOMALOUS, GREEN, GUIDE, NORMAL, TRUTH, VALUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PlaneMap = Callable[[Array], Array]  # points (..., 2) to points (..., 2)


def map_between_densities(x: Array, z: Array, p_x: Array, p_z: Array, strips: Sequence[tuple[float, float]]) -> Figure:
    """Draw the graph of z = f(x), with p_x above it and p_z to its right, and the mass of strips in all three.

    `x`, `z` and the densities at them are `(N,)`, increasing. Each strip is an interval of x.
    """
    from matplotlib import pyplot as plt

    ratios = {"width_ratios": (3, 1), "height_ratios": (1, 2.2)}
    figure, grid = plt.subplots(2, 2, figsize=(6.0, 4.9), layout="constrained", gridspec_kw=ratios)
    (above, corner), (middle, right) = grid
    corner.axis("off")
    above.plot(x, p_x, color=ACCENT)
    middle.plot(x, z, color=ACCENT)
    right.plot(p_z, z, color=ACCENT)
    for (low, high), color in zip(strips, (NORMAL, ANOMALOUS, GREEN), strict=False):
        inside = (x >= low) & (x <= high)
        above.fill_between(x[inside], p_x[inside], color=color, alpha=0.7, linewidth=0)
        middle.fill_between(x[inside], z[inside], z.max(), color=color, alpha=0.25, linewidth=0)
        middle.fill_betweenx(z[inside], x[inside], x.max(), color=color, alpha=0.25, linewidth=0)
        right.fill_betweenx(z[inside], p_z[inside], color=color, alpha=0.7, linewidth=0)
    _share_limits(above, middle, right, x, z)
    return figure


def _share_limits(above: Axes, middle: Axes, right: Axes, x: Array, z: Array) -> None:
    """Give the upper two panels one x axis and the lower two one z axis, and label them."""
    middle.set(xlabel="x", ylabel="z = f(x)", xlim=(x[0], x[-1]), ylim=(z[0], z[-1]))
    above.set(ylabel="density of x", xlim=(x[0], x[-1]), ylim=(0, None), xticklabels=[])
    right.set(xlabel="density of z", ylim=(z[0], z[-1]), xlim=(0, None), yticklabels=[])
    for axes in (above, middle, right):
        open_frame(axes)


def grid_before_after(plane_map: PlaneMap, corners: Array, jacobians: Array, side: float, reach: float) -> Figure:
    """Draw a grid of lines and up to three squares on the left, and their images under `plane_map` on the right.

    `corners` `(K, 2)` are the lower left corners of squares with this `side`. The dashed parallelograms are the images
    of the squares under the `jacobians` `(K, 2, 2)` there. Lines lie within [-reach, reach]. Both panels have one
    scale.
    """
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(6.6, 3.4), sharex=True, sharey=True, layout="constrained")
    ticks, along = np.linspace(-reach, reach, 17), np.linspace(-reach, reach, 161)
    lines = [np.stack([np.full_like(along, t), along], axis=-1) for t in ticks]
    lines += [line[:, ::-1] for line in lines]
    maps: list[PlaneMap] = [np.asarray, plane_map]
    for axes, moved in zip(panels, maps, strict=True):
        for line in map(moved, lines):
            axes.plot(*line.T, color=GUIDE, linewidth=0.7)
        for corner, color in zip(corners, (NORMAL, ANOMALOUS, GREEN), strict=False):
            axes.fill(*moved(square(corner, side)).T, color=color, alpha=0.85, zorder=3)
        axes.set_aspect("equal")
        open_frame(axes)
    for corner, jacobian in zip(corners, jacobians, strict=True):
        parallelogram = plane_map(corner) + (square(np.zeros(2), side) @ jacobian.T)
        panels[1].plot(*np.vstack([parallelogram, parallelogram[:1]]).T, "--", color=TRUTH, linewidth=1, zorder=4)
    panels[0].set(title="before", xlabel="$x_1$", ylabel="$x_2$")
    panels[1].set(title="after", xlabel="$z_1$", ylabel="$z_2$")
    panels[1].tick_params(labelleft=True)
    return figure


def square(corner: Array, side: float, points: int = 50) -> Array:
    """Return the outline `(4 * points, 2)` of a square, counter-clockwise from its lower left `corner` `(2,)`."""
    t = np.arange(points) / points
    zero, one = np.zeros(points), np.ones(points)
    path = [np.r_[t, one, 1 - t, zero], np.r_[zero, t, one, 1 - t]]
    return np.asarray(corner) + side * np.stack(path, axis=-1)


def density_grids(densities: Mapping[str, Array], reach: float) -> Figure:
    """Draw densities `(N, N)` over the square [-reach, reach]^2 side by side, on one range; rows are x_2, upwards."""
    figure, grid = new_grid(1, len(densities), 3.0)
    top = max(density.max() for density in densities.values())
    for axes, (name, density) in zip(grid[0], densities.items(), strict=True):
        image = axes.imshow(density, cmap=VALUES, vmin=0, vmax=top, origin="lower", extent=(-reach, reach) * 2)
        axes.set(title=name, xlabel="$x_1$", ylabel="$x_2$")
    figure.colorbar(image, ax=grid[0].tolist(), label="density", shrink=0.8)
    return figure


def jacobian_blocks(jacobian: Tensor, half: int, names: Sequence[str]) -> Figure:
    """Draw a Jacobian `(C, C)` with its numbers, cut into four blocks after `half` rows and columns.

    `names` are the blocks' names: top left, top right, bottom left, bottom right.
    """
    size = len(jacobian)
    figure, grid = new_grid(1, 1, 0.4 + 0.52 * size)
    axes, top = grid[0][0], float(jacobian.abs().max())
    axes.imshow(jacobian.abs().numpy(), cmap=AMOUNTS, vmin=0, vmax=1.4 * top)
    for row in range(size):
        for column in range(size):
            value = float(jacobian[row, column])
            axes.text(column, row + 0.1, f"{value:.2f}" if value else "0", ha="center", va="center")
    axes.axhline(half - 0.5, color=ANOMALOUS, linewidth=1.4)
    axes.axvline(half - 0.5, color=ANOMALOUS, linewidth=1.4)
    axes.set_xticks([(half - 1) / 2, (half + size - 1) / 2], ["by $x_a$", "by $x_b$"])
    axes.set_yticks([(half - 1) / 2, (half + size - 1) / 2], ["of $z_a$", "of $z_b$"])
    axes.tick_params(length=0)
    corners = [(x - 0.42, y - 0.42) for y in (0, half) for x in (0, half)]
    for name, corner in zip(names, corners, strict=True):
        axes.text(*corner, name, ha="left", va="top", color=ANOMALOUS)
    return figure
