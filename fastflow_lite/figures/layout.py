"""What all figures share: the grid of panels, pictures and maps without ticks, outlines, titles, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastflow_lite.errors import printable
from fastflow_lite.figures.style import HEAT, MASK_LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


def new_grid(rows: int, columns: int, side: float) -> tuple[Figure, NDArray[Any]]:
    """Return a figure and its axes `(rows, columns)`, each panel `side` inches wide and high."""
    from matplotlib import pyplot as plt

    size = (columns * side + 0.3, rows * side + 0.2)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")


def new_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of one panel, its sides in inches, with axes on the left and below only."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    open_frame(axes)
    return figure, axes


def open_frame(axes: Axes) -> None:
    """Hide the upper and the right side of the frame."""
    axes.spines[["top", "right"]].set_visible(False)


def hide_ticks(axes: Axes) -> None:
    """Remove the ticks of both axes."""
    axes.set(xticks=[], yticks=[])


def show_image(axes: Axes, image: Tensor, mask: Mask | None = None, linewidth: float = 0.8) -> None:
    """Draw an image `(3, H, W)` without ticks, and the outline of `mask` `(H, W)` where it has one."""
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())  # resizing rounds white to slightly above 1
    hide_ticks(axes)
    if mask is not None:
        outline(axes, mask, linewidth)


def show_map(
    axes: Axes, values: Array | Mask, low: float | None = None, high: float | None = None, cmap: str = HEAT
) -> AxesImage:
    """Draw an anomaly map `(H, W)` without ticks, its colors from `low` to `high`, by default its own range."""
    hide_ticks(axes)
    return axes.imshow(values, cmap=cmap, vmin=low, vmax=high)


def outline(axes: Axes, mask: Mask, linewidth: float = 0.8, color: str = MASK_LINE) -> None:
    """Draw the outline of a mask `(H, W)`, or nothing where it is empty."""
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=color, linewidths=linewidth)


def contour(axes: Axes, values: Array, level: float, color: str, linewidth: float = 1.4) -> None:
    """Draw the contour of a map `(H, W)` at `level`, or nothing where the map does not cross it."""
    if values.min() < level < values.max():
        # The line is solid, because matplotlib dashes contours below zero, as all scores of the `exp_energy` map are.
        axes.contour(values, levels=[level], colors=color, linewidths=linewidth, linestyles="solid")


def as_label(name: str) -> str:
    """Return the name of a folder or a file as text for a figure, which shows `$` and what is no text as they are."""
    return printable(name).replace("$", r"\$")


def title_columns(panels: Iterable[Axes], titles: Sequence[str], size: float = 8) -> None:
    """Write a title above each panel of the first row."""
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=size)


def legend_or_undefined(axes: Axes, **place: Any) -> None:
    """Add a legend, or the word "undefined" where nothing could be drawn."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, **place)
    else:
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", va="center")
