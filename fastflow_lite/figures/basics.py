"""Figures of notebooks 01 and 02: pictures in rows, pairs that are ranked right, and a map that moves density."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastflow_lite.figures.plots import new_grid
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, FAINT, GREEN, GUIDE, NORMAL, PALE_ANOMALOUS, PALE_NORMAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.floating]
PlaneMap = Callable[[Array], Array]  # points (..., 2) to points (..., 2)


def image_rows(
    rows: Mapping[str, Sequence[Array]],
    titles: Sequence[str],
    masks: Sequence[NDArray[np.bool_]] = (),
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Pictures `(H, W, 3)` in [0, 1] or maps `(H, W)`, a row a name; all maps share one range, `limits` or their own.

    `masks` `(H, W)`, one a column, are outlined in white.
    """
    maps = [item for items in rows.values() for item in items if item.ndim == 2]
    low, high = limits or (min(m.min() for m in maps), max(m.max() for m in maps))
    figure, grid = new_grid(len(rows), len(titles), 1.5)
    for row, (name, items) in zip(grid, rows.items(), strict=True):
        for column, (axes, item) in enumerate(zip(row, items, strict=True)):
            axes.imshow(item, cmap="inferno", vmin=low, vmax=high)  # a picture with colors ignores the last three
            axes.set(xticks=[], yticks=[])
            if len(masks) and masks[column].any():
                axes.contour(masks[column], levels=[0.5], colors="white", linewidths=1.0)
        row[0].set_ylabel(name, fontsize=8)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    return figure


def ranked_pairs(normal: Array, anomalous: Array) -> Figure:
    """Every pair of a normal score `(N,)` and an anomalous one `(M,)` as a tile, both sorted from high to low.

    The border between right and wrong tiles is the ROC curve, the share of right tiles the AUROC.
    """
    from matplotlib import pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    normal, anomalous = np.sort(normal)[::-1], np.sort(anomalous)[::-1]
    verdict = np.sign(anomalous[:, None] - normal[None, :])  # (M, N): 1 right, 0 tie, -1 wrong
    figure, axes = plt.subplots(figsize=(5.6, 3.7), layout="constrained")
    names = {"wrong": PALE_ANOMALOUS, "tie": FAINT, "right": PALE_NORMAL}
    extent = (0, len(normal), 0, len(anomalous))
    axes.imshow(verdict, cmap=ListedColormap(list(names.values())), vmin=-1, vmax=1, origin="lower", extent=extent)
    axes.set_aspect(len(normal) / len(anomalous))
    axes.hlines(range(len(anomalous) + 1), 0, len(normal), color="white", linewidth=0.5)
    axes.vlines(range(len(normal) + 1), 0, len(anomalous), color="white", linewidth=0.5)
    passed = (anomalous[:, None] > normal[None, :]).sum(axis=0)  # anomalous scores above each normal one
    axes.stairs(passed, np.arange(len(normal) + 1), baseline=None, color=ACCENT, linewidth=2.5, zorder=3)
    axes.locator_params(axis="both", integer=True)
    axes.set(xlabel="good images, highest score first", ylabel="defective images, highest score first")
    patches = [Patch(color=color, label=name) for name, color in names.items() if name != "tie" or 0 in verdict]
    axes.legend(handles=[*patches[::-1]], frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title="pair ranked")
    return figure


def map_between_densities(x: Array, z: Array, p_x: Array, p_z: Array, strips: Sequence[tuple[float, float]]) -> Figure:
    """The graph of z = f(x), with p_x above it and p_z to its right, and strips of mass followed through.

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
    """One x axis for the upper two, one z axis for the lower two, and their labels."""
    middle.set(xlabel="x", ylabel="z = f(x)", xlim=(x[0], x[-1]), ylim=(z[0], z[-1]))
    above.set(ylabel="density of x", xlim=(x[0], x[-1]), ylim=(0, None), xticklabels=[])
    right.set(xlabel="density of z", ylim=(z[0], z[-1]), xlim=(0, None), yticklabels=[])
    for axes in (above, middle, right):
        axes.spines[["top", "right"]].set_visible(False)


def grid_before_after(plane_map: PlaneMap, corners: Array, jacobians: Array, side: float, reach: float) -> Figure:
    """A grid of lines and up to three squares on the left, what `plane_map` makes of them on the right.

    `corners` `(K, 2)`: the lower left corners of squares with this `side`. `jacobians` `(K, 2, 2)` there: the dashed
    parallelograms they make of the squares. Lines lie within [-reach, reach]. Both panels have one scale.
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
        axes.spines[["top", "right"]].set_visible(False)
    for corner, jacobian in zip(corners, jacobians, strict=True):
        parallelogram = plane_map(corner) + (square(np.zeros(2), side) @ jacobian.T)
        panels[1].plot(*np.vstack([parallelogram, parallelogram[:1]]).T, "--", color="black", linewidth=1, zorder=4)
    panels[0].set(title="before", xlabel="$x_1$", ylabel="$x_2$")
    panels[1].set(title="after", xlabel="$z_1$", ylabel="$z_2$")
    panels[1].tick_params(labelleft=True)
    return figure


def square(corner: Array, side: float, points: int = 50) -> Array:
    """The outline `(4 * points, 2)` of a square, counter-clockwise from its lower left `corner` `(2,)`."""
    t = np.arange(points) / points
    zero, one = np.zeros(points), np.ones(points)
    path = [np.r_[t, one, 1 - t, zero], np.r_[zero, t, one, 1 - t]]
    return np.asarray(corner) + side * np.stack(path, axis=-1)


def plane_densities(densities: Mapping[str, Array], reach: float) -> Figure:
    """Densities `(N, N)` over the square [-reach, reach]^2 side by side, on one range; rows are x_2, upwards."""
    figure, grid = new_grid(1, len(densities), 3.0)
    top = max(density.max() for density in densities.values())
    for axes, (name, density) in zip(grid[0], densities.items(), strict=True):
        image = axes.imshow(density, cmap="viridis", vmin=0, vmax=top, origin="lower", extent=(-reach, reach) * 2)
        axes.set(title=name, xlabel="$x_1$", ylabel="$x_2$")
    figure.colorbar(image, ax=grid[0].tolist(), label="density", shrink=0.8)
    return figure
