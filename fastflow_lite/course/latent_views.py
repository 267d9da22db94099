"""Figures of noise painted into a latent: the interactive view, and one edit judged by a second flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.course.latent_edits import Edit, edit, rectangle
from fastflow_lite.figures.layout import color_bar, new_grid, show_image, show_map, title_columns
from fastflow_lite.figures.style import REGION_LINE, VALUES
from fastflow_lite.model import FastFlow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_painter(
    model: FastFlow, image: Tensor, scale: int, top: int, left: int, side: int, strength: float, seed: int
) -> Figure:
    """Draw noise in a square of z and its effect: the image `(3, H, W)`, z, features before and after, the change.

    z and the change are root mean squares over the channels. Features are shown before and after in one color scale,
    of the channel that changed most (normalized features have the same mean square everywhere). `scale` indexes the
    flows; `top`, `left` and `side` count positions of its map.
    """
    features = model.features(image[None].to(model.device))
    size = features[scale].shape[-2:]
    done = edit(model, features, scale, rectangle(size, top, left, side, side), strength, seed)
    change = done.after - done.before
    channel = int(change[0].square().sum(dim=(1, 2)).argmax())
    before, after = (maps[0, channel].cpu().numpy() for maps in (done.before, done.after))
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    figure, grid = new_grid(1, 5, 1.9)
    show_image(grid[0][0], image)
    drawn = (
        show_map(grid[0][1], _root_mean_square(done.painted), 0),
        show_map(grid[0][2], before, low, high, cmap=VALUES),
        show_map(grid[0][3], after, low, high, cmap=VALUES),
        show_map(grid[0][4], _root_mean_square(change), 0),
    )
    for axes, picture in zip(grid[0][1:], drawn, strict=True):
        color_bar(picture, axes)
    for axes, stride in zip(grid[0], (image.shape[-1] / size[-1], 1, 1, 1, 1), strict=True):
        _rectangle(axes, (left * stride - 0.5, top * stride - 0.5), side * stride, side * stride)
    titles = ("image", "z, painted", f"features, channel {channel}", "the inverse", "difference, all channels")
    title_columns(grid[0], titles)
    return figure


def _root_mean_square(maps: Tensor) -> np.ndarray:
    """Return the root mean square over channels of the first of maps `(B, C, H, W)`."""
    return maps[0].square().mean(dim=0).sqrt().cpu().numpy()


def draw_edit(image: Tensor, done: Edit, seen: Tensor, field: Tensor, index: int = 0) -> Figure:
    """Draw an `image` `(3, H, W)` and one edit: latent energy before and after, change of features, second energy.

    `seen` `(B, h, w)` is the energy that another flow finds in the changed features. The edited region is outlined,
    and dashed the mask `field` `(h, w)` of positions that the change can reach. The change is drawn on a logarithmic
    scale over six decades.
    """
    before, after = (z.square().mean(dim=1)[index] / 2 for z in (done.z, done.painted))
    change = done.change[index].clamp(min=1e-30).log10()
    high, strongest = float(after.max()), float(change.max())
    figure, grid = new_grid(1, 5, 1.9)
    figure.set_figheight(2.6)
    show_image(grid[0][0], image)
    drawn = (
        ("energy of z", before, 0.0, high),
        ("z, painted", after, 0.0, high),
        ("change of features\n(log10)", change, strongest - 6, strongest),
        ("energy, by\nthe other flow", seen[index], 0.0, float(seen[index].quantile(0.995))),
    )
    for axes, (_, values, low, top) in zip(grid[0][1:], drawn, strict=True):
        drawing = show_map(axes, values.numpy(), low, top)
        figure.colorbar(drawing, cax=axes.inset_axes((0.1, -0.12, 0.8, 0.05)), orientation="horizontal")
    _outlines(grid[0], done.region, field, image.shape[-1] / done.region.shape[-1])
    title_columns(grid[0], ("image", *(title for title, *_ in drawn)))
    return figure


def _outlines(panels: Sequence[Axes], region: Tensor, field: Tensor, stride: float) -> None:
    """Outline the region solid and the field dashed on every panel; the first panel is `stride` times larger."""
    for axes, scale in zip(panels, (stride, *[1.0] * (len(panels) - 1)), strict=True):
        for mask, style in ((region, "solid"), (field, (0, (2, 2)))):
            rows, columns = (torch.where(mask.any(dim=d))[0] for d in (1, 0))
            corner = (float(columns[0]) * scale - 0.5, float(rows[0]) * scale - 0.5)
            _rectangle(axes, corner, len(columns) * scale, len(rows) * scale, style)


def _rectangle(axes: Axes, corner: tuple[float, float], width: float, height: float, style: object = "solid") -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=REGION_LINE, linestyle=style, linewidth=1.3))
