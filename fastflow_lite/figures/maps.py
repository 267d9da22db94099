"""Figures of anomaly maps: beside their images, and what a threshold marks in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets.image_set import GOOD
from fastflow_lite.figures.layout import (
    Array,
    Mask,
    as_label,
    color_bar,
    contour,
    hide_ticks,
    name_row,
    new_grid,
    show_image,
    show_map,
    title_columns,
)
from fastflow_lite.figures.style import ALARM_LINE, AMOUNTS, BOX_LINE, FAINT, MASKS
from fastflow_lite.scoring.pixel_iou import iou

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastflow_lite.datasets.image_set import ImageSet
    from fastflow_lite.evaluation.result import Result

LEVEL_OF_NORMAL = (
    "red: pixels at or above the level set by held-out normal images, without a test label;\nwhite: the true mask"
)
NO_LEVEL = "no region is marked, since no held-out normal images set a level; white: the true mask"

BLACK = 0.03  # of a color range: what lies below it looks black

Box = tuple[slice, slice]  # rows and columns, as scipy.ndimage.find_objects gives them
Range = tuple[float, float] | tuple[None, None]  # of a color scale; None: each map's own


def heat_range(result: Result) -> tuple[float, float]:
    """Return where the color scale begins and ends: the median of the normal pixels, the top of all pixels.

    One range serves the whole set. A range for each image would paint a hot spot on every normal one.
    """
    normal = result.maps[~result.labels] if (~result.labels).any() else result.maps
    return float(np.median(normal)), float(np.quantile(result.maps, 0.999))


def typical_indices(result: Result) -> list[int]:
    """Return the index of one image for each kind, the one with the median score, so that none is hand-picked."""
    kinds = [GOOD, *sorted(set(result.defects) - {GOOD})]
    picked = []
    for kind in kinds:
        members = np.flatnonzero(np.array(result.defects) == kind)
        if len(members):
            picked.append(int(members[np.argsort(result.scores[members])[len(members) // 2]]))
    return picked


def maps_in_columns(
    images: Tensor,
    masks: Mask | None,
    maps: Mapping[str, Array],
    names: Sequence[str],
    ranges: Sequence[Range] | None = None,
    side: float = 1.6,
) -> Figure:
    """Draw a row for each of the images `(N, 3, H, W)`, masks outlined, then its maps `(N, H, W)` by title.

    Each column has one color range for all rows, by default from the 0.05 to the 0.999 quantile of its maps. The colors
    are logarithmic where a linear scale would leave most of a column black.
    """
    if ranges is None:
        ranges = [_middle_range(values) for values in maps.values()]
    figure, grid = new_grid(len(images), 1 + len(maps), side)
    widths = [_linear_width(values, *limits) for values, limits in zip(maps.values(), ranges, strict=True)]
    for k, (row, name) in enumerate(zip(grid, names, strict=True)):
        show_image(row[0], images[k], None if masks is None else masks[k])
        name_row(row[0], name)
        drawn = [
            show_map(axes, values[k], low, high, linear_width=width)
            for axes, values, (low, high), width in zip(row[1:], maps.values(), ranges, widths, strict=True)
        ]
    for column, image, limits in zip(grid.T[1:], drawn, ranges, strict=True):
        if limits[0] is not None:
            color_bar(image, column[-1])
    titles = (f"{name}\n(log colors)" if width else name for name, width in zip(maps, widths, strict=True))
    title_columns(grid[0], ("image", *titles))
    return figure


def _linear_width(maps: Array, low: float | None, high: float | None) -> float:
    """Return how far colors are linear: 0, all the way, unless the middle of the maps would be black."""
    middle = float(np.median(maps))
    if low is None or high is None or (middle - low) > BLACK * (high - low):
        return 0.0
    return max(abs(middle), (high - low) / 1000)


def _middle_range(maps: Array) -> tuple[float, float]:
    low, high = np.quantile(maps, (0.05, 0.999))
    return float(low), float(high)


def maps_side_by_side(
    result: Result, images: ImageSet, others: Mapping[str, Array], indices: Sequence[int] | None = None
) -> Figure:
    """Draw rows of image, the result's own map and other maps `(N, H, W)` by name.

    The range of each column is that of all N maps. `indices` are by default `typical_indices`, at most four.
    """
    indices = typical_indices(result)[:4] if indices is None else list(indices)
    maps = {"anomaly map": result.maps, **others}
    return maps_in_columns(
        _stacked(images, indices),
        result.masks[indices],
        {name: values[indices] for name, values in maps.items()},
        [as_label(result.defects[index]) for index in indices],
        [_middle_range(values) for values in maps.values()],
        side=1.75,
    )


def two_color_scales(result: Result, images: ImageSet, indices: Sequence[int]) -> Figure:
    """Draw the same maps each on its own color range, and on one range for all."""
    chosen = result.maps[list(indices)]
    maps = {"its own range (misleads)": chosen, "one range for all": chosen}
    names = [as_label(result.defects[index]) for index in indices]
    return maps_in_columns(_stacked(images, indices), None, maps, names, [(None, None), heat_range(result)], side=1.75)


def _stacked(images: ImageSet, indices: Sequence[int]) -> Tensor:
    return torch.stack([images[index][0] for index in indices])


def gallery(result: Result, images: ImageSet, indices: Sequence[int] | None = None) -> Figure:
    """Draw rows of image, mask, heat map and marked region, with one color scale for all rows, from the normal images.

    The region is outlined at `result.pixel_threshold`, which held-out normal pixels set. Below it stands its IoU with
    the mask; the caption states that no test label set the threshold, or that there is none.
    """
    indices = typical_indices(result) if indices is None else list(indices)
    low, high = heat_range(result)
    figure, grid = new_grid(len(indices), 4, 1.75)
    for row, index in zip(grid, indices, strict=True):
        image, heat, mask = images[index][0], result.maps[index], result.masks[index]
        show_image(row[0], image)
        show_map(row[1], mask, 0, 1, cmap=MASKS)
        drawn = show_map(row[2], heat, low, high)
        show_image(row[3], image, mask)
        contour(row[3], heat, result.pixel_threshold, ALARM_LINE)
        if mask.any() and math.isfinite(result.pixel_threshold):
            row[3].set_xlabel(f"IoU {iou(mask, heat >= result.pixel_threshold):.2f}")
        name_row(row[0], f"{as_label(result.defects[index])}\n{result.scores[index]:.3f}")
    color_bar(drawn, grid[-1, 2])
    title_columns(grid[0], ("image", "mask", "anomaly map", "marked region"))
    figure.supxlabel(LEVEL_OF_NORMAL if math.isfinite(result.pixel_threshold) else NO_LEVEL)
    return figure


def marked_regions(
    images: Tensor, masks: Mask, maps: Array, threshold: float, boxes: Sequence[Sequence[Box]], names: Sequence[str]
) -> Figure:
    """Draw images in a row with the true outline, the contour at `threshold`, and the boxes `boxes[k]` of image k."""
    from matplotlib.patches import Rectangle

    figure, grid = new_grid(1, len(images), 1.8)
    for axes, image, mask, values, found in zip(grid[0], images, masks, maps, boxes, strict=True):
        show_image(axes, image, mask)
        contour(axes, values, threshold, ALARM_LINE, linewidth=1.2)
        for rows, columns in found:
            corner, width = (columns.start - 0.5, rows.start - 0.5), columns.stop - columns.start
            box = Rectangle(corner, width, rows.stop - rows.start, fill=False, color=BOX_LINE, linewidth=1.2)
            axes.add_patch(box)
    title_columns(grid[0], names)
    return figure


def value_grids(maps: Mapping[str, Tensor]) -> Figure:
    """Draw maps `(H, W)` of values from 0 up by name, every cell bordered, side by side on one color scale."""
    top = max(float(values.max()) for values in maps.values())
    figure, grid = new_grid(1, len(maps), 2.2)
    for axes, values in zip(grid[0], maps.values(), strict=True):
        drawn = axes.pcolormesh(values.numpy(), cmap=AMOUNTS, vmin=0, vmax=top, edgecolors=FAINT, linewidth=0.4)
        hide_ticks(axes)
        axes.set_aspect("equal")
    title_columns(grid[0], list(maps))
    figure.colorbar(drawn, ax=grid[0].tolist(), shrink=0.8)
    return figure
