"""Figures of the interactive views of a coupling, a threshold and the defects, each drawn from values alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.errors import ArgumentError
from fastflow_lite.figures.layout import (
    as_label,
    color_bar,
    contour,
    new_grid,
    outline,
    set_title,
    show_image,
    show_map,
    title_columns,
)
from fastflow_lite.figures.plane import REACH, density_on_grid, draw_grid, frame, grid_lines, show_density
from fastflow_lite.figures.scores import histogram_by_label
from fastflow_lite.figures.style import ACCENT, ALARM_LINE, AMOUNTS, ANOMALOUS, GUIDE, MARKS, NORMAL, TRUTH
from fastflow_lite.flows.transforms import AffineCoupling
from fastflow_lite.scoring.metrics import auroc
from fastflow_lite.scoring.thresholds import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# ---- a coupling on the plane ---------------------------------------------------------------------


class LinearSubnet(nn.Module):
    """A sub-net with two fixed factors: it returns `scale * x_a` and `shift * x_a` `(N, 2)` of half a `(N, 1)`."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x_a: Tensor) -> Tensor:
        """Return scale and shift side by side, `(N, 2)`."""
        return torch.cat([self.scale * x_a, self.shift * x_a], dim=1)


def plane_coupling(scale: float, shift: float, clamp: float) -> AffineCoupling:
    """Return a coupling of vectors `(N, 2)` whose sub-net is `LinearSubnet(scale, shift)`.

    >>> plane_coupling(0.0, 2.0, 1.0)(torch.tensor([[1.0, 5.0]]))[0].tolist()
    [[1.0, 7.0]]
    """
    if clamp <= 0:
        raise ArgumentError(f"clamp must be above 0, got {clamp}")
    return AffineCoupling(2, lambda _, __: LinearSubnet(scale, shift), clamp)


@torch.no_grad()
def draw_coupling(scale: float = 0.8, shift: float = 0.4, clamp: float = 2.0) -> Figure:
    """Draw what `plane_coupling` does: the log-scale s, the plane and two squares of it after, the density of x."""
    coupling, lines = plane_coupling(scale, shift, clamp), grid_lines()
    figure, grid = new_grid(1, 3, 2.3)
    x_a = torch.linspace(-REACH, REACH, 200)
    s, _ = coupling.scale_and_shift(coupling.subnet(x_a[:, None]))
    grid[0][0].plot(x_a, s[:, 0], color=NORMAL)
    for bound in (-clamp, clamp):
        grid[0][0].axhline(bound, color=ACCENT, linestyle="--", linewidth=0.8)
    grid[0][0].set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xlabel="$x_a$", aspect="equal")
    set_title(grid[0][0], "$s(x_a)$; dashed: the clamp")
    draw_grid(grid[0][1], coupling(lines.reshape(-1, 2))[0].reshape(lines.shape))
    for side, color in ((-1.5, NORMAL), (1.0, ANOMALOUS)):
        square = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]) + torch.tensor([side, 0.0])
        grid[0][1].fill(*coupling(square)[0].T.numpy(), color=color, linewidth=0)
    frame(grid[0][1], "$z$: two squares, once alike")
    density = density_on_grid(coupling)
    show_density(grid[0][2], density, float(np.quantile(density, 0.995)))
    frame(grid[0][2], "the density of $x$")
    return figure


# ---- a threshold -----------------------------------------------------------------------------------


def confusion(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return counts `(2, 2)` of images: rows normal and anomalous, columns no alarm and alarm (`score >= threshold`).

    >>> confusion(np.array([False, False, True]), np.array([0.1, 0.7, 0.8]), 0.7).tolist()
    [[1, 1], [0, 1]]
    """
    alarms = fixed(threshold).decide(scores)
    return np.array([[np.sum(~alarms & (labels == kind)), np.sum(alarms & (labels == kind))] for kind in (False, True)])


def draw_threshold(images: ImageSet, maps: np.ndarray, scores: np.ndarray, threshold: float, index: int) -> Figure:
    """Draw the rule `score >= threshold`: on the histogram, its counts, its point on the ROC, its mask on one image.

    `maps` `(N, H, W)` and `scores` `(N,)` belong to `images`. The mask holds the pixels of the map at or above the
    same threshold, of the image `index`.
    """
    _check_index(index, len(images))
    labels, (image, mask) = images.labels, images[index]
    figure, grid = new_grid(1, 4, 2.2)
    _histogram(grid[0][0], labels, scores, threshold)
    counts = confusion(labels, scores, threshold)
    _counts(grid[0][1], counts)
    _roc_point(grid[0][2], labels, scores, counts)
    _mask_overlay(grid[0][3], image, maps[index] >= threshold, mask.numpy())
    verdict = "alarm" if fixed(threshold).decide(scores[index]) else "no alarm"
    set_title(grid[0][3], as_label(f"{images.defects[index]}, {scores[index]:.3f}: {verdict}"))
    return figure


def _histogram(axes: Axes, labels: np.ndarray, scores: np.ndarray, threshold: float) -> None:
    histogram_by_label(axes, scores, labels, bins=20)
    axes.axvline(threshold, color=TRUTH, linewidth=1.6)
    axes.set(xlabel="image score", yticks=[], box_aspect=1)
    set_title(axes, f"threshold {threshold:.3f}")
    axes.legend(framealpha=1).get_frame().set_linewidth(0)  # the threshold may run behind it
    axes.spines[["top", "right", "left"]].set_visible(False)


def _counts(axes: Axes, counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=AMOUNTS, vmin=0, vmax=1.6)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center", fontsize=12)
    axes.set_xticks([0, 1], ["no alarm", "alarm"])
    axes.set_yticks([0, 1], ["normal", "anom."])
    axes.tick_params(length=0)
    set_title(axes, "images")


def _roc_point(axes: Axes, labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> None:
    from sklearn.metrics import roc_curve

    axes.plot([0, 1], [0, 1], "--", color=GUIDE, linewidth=1)
    title = "ROC: undefined"
    if labels.any() and not labels.all():
        false, true, _ = roc_curve(labels, scores)
        axes.plot(false, true, color=ACCENT, linewidth=1.2)
        axes.plot(*(counts[:, 1] / counts.sum(axis=1)), "o", color=ANOMALOUS, markersize=9, clip_on=False)
        title = f"AUROC {auroc(labels, scores):.3f}"
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal", xlim=(0, 1), ylim=(0, 1.02))
    set_title(axes, title)


def _mask_overlay(axes: Axes, image: Tensor, found: np.ndarray, mask: np.ndarray) -> None:
    show_image(axes, image)
    axes.imshow(np.ma.masked_where(~found, found), cmap=MARKS, vmin=0, vmax=2, alpha=0.55, interpolation="nearest")
    outline(axes, mask, linewidth=1.0)


# ---- defects -----------------------------------------------------------------------------------------


def draw_defect(
    images: ImageSet, maps: np.ndarray, defect: str, index: int, opacity: float = 0.5, level: float = math.nan
) -> Figure:
    """Draw the `index`-th image of one kind of `defect` with its mask's outline, its map, and the map over the image.

    `maps` `(N, H, W)` belong to `images` and share one color scale, from the middle of the normal pixels to the top.
    A red contour is drawn at `level`, if given.
    """
    members = [k for k, kind in enumerate(images.defects) if kind == defect]
    if not members:
        raise ArgumentError(f"no image of defect {defect!r}; there are {', '.join(sorted(set(images.defects)))}")
    _check_index(index, len(members))
    (image, mask), heat = images[members[index]], maps[members[index]]
    normal = maps[~images.labels] if not images.labels.all() else maps
    low, high = float(np.median(normal)), float(np.quantile(maps, 0.999))
    figure, grid = new_grid(1, 3, 2.3)
    show_image(grid[0][0], image, mask.numpy(), linewidth=1.0)
    color_bar(show_map(grid[0][1], heat, low, high), grid[0][1])
    show_image(grid[0][2], image)
    show_map(grid[0][2], heat, low, high).set_alpha(opacity)
    contour(grid[0][2], heat, level, ALARM_LINE)
    titles = (f"{defect}, {index + 1} of {len(members)}", f"map, at most {heat.max():.3f}", "overlay")
    title_columns(grid[0], titles)
    return figure


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ArgumentError(f"index must be from 0 to {count - 1}, got {index}")
