"""What all figures share: the grid of panels, pictures and maps without ticks, outlines, titles, legends."""

from __future__ import annotations

import textwrap
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

WIDEST = 9.4  # inches of a page; a wider figure would be shown smaller, and its text with it
COLOR_BAR = "<colorbar>"  # how matplotlib labels the axes of one
LETTERS = 12  # of the text of figures in an inch, about


def new_panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of `size` (width, height) in inches and its axes `(rows, columns)`."""
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")


def new_grid(rows: int, columns: int, side: float) -> tuple[Figure, NDArray[Any]]:
    """Return a figure and its axes `(rows, columns)`, each panel `side` inches wide and high, less on a full page."""
    from matplotlib import pyplot as plt

    side = min(side, (WIDEST - 0.3) / columns)
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
    axes: Axes,
    values: Array | Mask,
    low: float | None = None,
    high: float | None = None,
    cmap: str = HEAT,
    linear_width: float = 0.0,
) -> AxesImage:
    """Draw an anomaly map `(H, W)` without ticks, its colors from `low` to `high`, by default its own range.

    With a `linear_width` colors are linear up to about this value and logarithmic beyond.
    """
    from matplotlib.colors import AsinhNorm, Normalize

    hide_ticks(axes)
    norm = AsinhNorm(linear_width, low, high) if linear_width else Normalize(low, high)
    return axes.imshow(values, cmap=cmap, norm=norm)


def color_bar(image: AxesImage, axes: Axes) -> None:
    """Draw the color scale of `image` below a panel, with the values of its ends."""
    place = axes.inset_axes((0.05, -0.12, 0.9, 0.06))
    bar = _figure_of(axes).colorbar(image, cax=place, orientation="horizontal")
    low, high = image.get_clim()
    if low is not None and high is not None and low < high:
        least = max(abs(low), abs(high)) / 1000
        ends = [f"{value if abs(value) > least else 0:.2g}" for value in (low, high)]
        bar.set_ticks([low, high], labels=ends)
        left, right = bar.ax.get_xticklabels()
        left.set_horizontalalignment("left")
        right.set_horizontalalignment("right")


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


def title_columns(panels: Iterable[Axes], titles: Sequence[str]) -> None:
    """Write a title above each panel of the first row."""
    for axes, title in zip(panels, titles, strict=True):
        set_title(axes, title)


def set_title(axes: Axes, title: str) -> None:
    """Write a title above a panel, in lines as wide as the panel."""
    axes.set_title(_in_lines(title, _figure_of(axes).get_figwidth() / _grid_shape(axes)[1]))


def name_row(axes: Axes, name: str) -> None:
    """Write the name of a row of panels to the left of its first panel, in lines as long as the panel is high."""
    axes.set_ylabel(_in_lines(name, _figure_of(axes).get_figheight() / _grid_shape(axes)[0]))


def panels(figure: Figure) -> list[Axes]:
    """Return the panels of a figure, without its color bars."""
    return [axes for axes in figure.axes if axes.get_label() != COLOR_BAR]


def color_bars(figure: Figure) -> list[Axes]:
    """Return the axes of a figure's color bars."""
    return [axes for axes in figure.axes if axes.get_label() == COLOR_BAR]


def _figure_of(axes: Axes) -> Figure:
    from matplotlib.figure import Figure

    figure = axes.get_figure()  # without `root`, which matplotlib 3.9 does not have; no panel lies in a subfigure
    assert isinstance(figure, Figure)
    return figure


def _grid_shape(axes: Axes) -> tuple[int, int]:
    """Return how many rows and columns of panels the figure has; 1 and 1 for a panel outside a grid."""
    spec = axes.get_subplotspec()
    return (1, 1) if spec is None else spec.get_gridspec().get_geometry()


def _in_lines(text: str, inches: float) -> str:
    """Break lines at spaces so that they fit in so many inches; formulas stay whole."""
    letters = max(6, int(LETTERS * inches))
    lines = (
        [line] if "$" in line else textwrap.wrap(line, letters, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join(part for line in lines for part in line)


def legend_or_undefined(axes: Axes, **place: Any) -> None:
    """Add a legend, or the word "undefined" where nothing could be drawn."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, **place)
    else:
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", va="center")
