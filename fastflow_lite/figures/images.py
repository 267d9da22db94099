"""Figures of images: examples of a data set, and rows of pictures and maps by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastflow_lite.figures.layout import (
    Array,
    Mask,
    as_label,
    name_row,
    new_grid,
    outline,
    set_title,
    show_image,
    show_map,
    title_columns,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastflow_lite.datasets.image_set import ImageSet


def contact_sheet(train: ImageSet, test: ImageSet, indices: Sequence[int]) -> Figure:
    """Draw a row of training images over a row of the test images `indices`, the masks outlined on those."""
    columns = max(len(indices), 4)
    figure, grid = new_grid(2, columns, 1.6)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, index in zip(grid[0], np.linspace(0, len(train) - 1, columns).astype(int), strict=True):
        show_image(axes, train[index][0])
        set_title(axes, "train: good")
    for axes, index in zip(grid[1], indices, strict=False):
        image, mask = test[index]
        show_image(axes, image, mask.numpy(), linewidth=1.0)
        set_title(axes, as_label(f"test: {test.defects[index]}"))
    return figure


def image_rows(
    rows: Mapping[str, Sequence[Array]],
    titles: Sequence[str],
    masks: Sequence[Mask] = (),
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw pictures `(H, W, 3)` in [0, 1] or maps `(H, W)`, a row for each name.

    All maps share one range: `limits`, or else that of their values. `masks` `(H, W)`, one for each column, are
    outlined.
    """
    maps = [item for items in rows.values() for item in items if item.ndim == 2]
    low, high = limits or (min(m.min() for m in maps), max(m.max() for m in maps))
    figure, grid = new_grid(len(rows), len(titles), 1.5)
    for row, (name, items) in zip(grid, rows.items(), strict=True):
        for column, (axes, item) in enumerate(zip(row, items, strict=True)):
            show_map(axes, item, low, high)  # matplotlib ignores the range for a picture with colors
            if len(masks):
                outline(axes, masks[column], linewidth=1.0)
        name_row(row[0], name)
    title_columns(grid[0], titles)
    return figure
