"""Figures of what a likelihood ranks: patches, scores of two groups, a narrow Gaussian in a broad one, a bridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.figures.layout import Array, hide_ticks, new_panels, open_frame
from fastflow_lite.figures.plane import density_on_grid, frame, scatter, show_density
from fastflow_lite.figures.style import ANOMALOUS, FAINT, GUIDE, MASKS, NORMAL, TRUTH
from fastflow_lite.flows.likelihood import log_density
from fastflow_lite.flows.transforms import Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Groups = tuple[Array, Array]  # scores (N,) of normal and (M,) of strange images


def patch_rows(rows: Mapping[str, Tensor], columns: int = 10) -> Figure:
    """Draw gray patches `(N, H, W)` in 0..255, a row for each name, evenly spread over the N."""
    figure, grid = new_panels(len(rows), columns, (0.72 * columns + 1.0, 0.78 * len(rows)))
    for row, (name, patches) in zip(grid, rows.items(), strict=True):
        for axes, index in zip(row, np.linspace(0, len(patches) - 1, columns).astype(int), strict=True):
            axes.imshow(patches[index].numpy(), cmap=MASKS, vmin=0, vmax=255)
            hide_ticks(axes)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def two_groups(panels: Mapping[str, Groups], names: Sequence[str], xlabel: str, bins: int = 40) -> Figure:
    """Draw the scores of normal and of strange images as histograms over one another, a panel for each title.

    The axis of a panel ends at the 1 % and 99 % quantiles of each group; what lies beyond is counted in its last bin.
    """
    figure, (row,) = new_panels(1, len(panels), (3.7 * len(panels), 2.9))
    for axes, (title, groups) in zip(row, panels.items(), strict=True):
        ends = [np.quantile(group, (0.01, 0.99)) for group in groups]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        edges = np.linspace(low, high, bins + 1).tolist()
        for values, name, color in zip(groups, names, (NORMAL, ANOMALOUS), strict=True):
            weights = np.full(len(values), 1 / len(values))
            axes.hist(np.clip(values, low, high), edges, weights=weights, color=color, alpha=0.65, label=name)
        axes.set(title=title, xlabel=xlabel)
        open_frame(axes)
    row[0].set_ylabel("share of the patches")
    row[0].legend(frameon=False)
    return figure


def narrow_in_broad(narrow: float, dimensions: Sequence[int] = (1, 100), count: int = 4000) -> Figure:
    """Draw a Gaussian of deviation `narrow` in the standard one, and the log-densities of points of both.

    The panels on the right hold the standard Gaussian's log-density a dimension, of points of itself and of the narrow
    one, in each number of `dimensions`.
    """
    figure, (row,) = new_panels(1, 1 + len(dimensions), (3.0 * (1 + len(dimensions)), 2.8))
    x = np.linspace(-4, 4, 401)
    for deviation, name, color in ((1.0, "model and its data", NORMAL), (narrow, "strangers", ANOMALOUS)):
        row[0].plot(x, np.exp(-((x / deviation) ** 2) / 2) / deviation / np.sqrt(2 * np.pi), color=color, label=name)
    row[0].set(title="densities", xlabel="x", ylabel="density", ylim=(0, None))
    row[0].legend(frameon=False, loc="upper left", handlelength=1.0, borderaxespad=0)
    row[0].set_ylim(0, 0.72 / narrow)
    generator = np.random.default_rng(0)
    for axes, dimension in zip(row[1:], dimensions, strict=True):
        values = generator.standard_normal((count, dimension))
        found = [-((scale * values) ** 2).mean(axis=1) / 2 - 0.5 * np.log(2 * np.pi) for scale in (1.0, narrow)]
        edges = np.linspace(np.quantile(found[0], 0.01), max(map(np.max, found)), 41).tolist()
        for logs, color in zip(found, (NORMAL, ANOMALOUS), strict=True):
            axes.hist(np.clip(logs, edges[0], None), edges, color=color, alpha=0.65, weights=np.full(count, 1 / count))
        axes.set(title=f"{dimension} dimension{'s' * (dimension > 1)}", xlabel="log-density, nats a dimension")
    row[1].set_ylabel("share of the points")
    for axes in row:
        open_frame(axes)
    return figure


@torch.no_grad()
def bridge(flow: Transform, x: Tensor, samples: Tensor, path: Tensor, reach: float = 3.2) -> Figure:
    """Draw points `(N, 2)`, a flow's samples, its density, and its log-density along a `path` `(K, 2)` of the plane."""
    figure, (row,) = new_panels(1, 4, (9.4, 2.6))
    scatter(row[0], x)
    scatter(row[1], samples)
    row[1].plot(*path.T.numpy(), color=ANOMALOUS, linewidth=1.4)
    density = density_on_grid(flow, reach)
    show_density(row[2], density, float(np.quantile(density, 0.99)), reach)
    for axes, title in zip(row, ("data", "samples and a path", "density of the flow"), strict=False):
        frame(axes, reach=reach)
        axes.set_title(title)
    across, logs = path[:, 0].numpy(), log_density(flow, path).numpy()
    row[3].plot(across, logs, color=ANOMALOUS)
    row[3].axvspan(-0.8, 0.8, color=FAINT, alpha=0.6, linewidth=0)
    row[3].axhline(logs.max(), color=GUIDE, linestyle=":", linewidth=1)
    row[3].set(title="log-density on the path", xlabel="first coordinate", ylabel="nats")
    open_frame(row[3])
    return figure


def contrast_curve(factors: Sequence[float], bits: Sequence[float], strangers: float) -> Figure:
    """Draw bits per dimension of patches over the factor of their contrast, and a line at the strangers' mean."""
    figure, ((axes,),) = new_panels(1, 1, (5.4, 2.9))
    axes.plot(factors, bits, "o-", color=NORMAL, label="test patches, contrast reduced")
    axes.axhline(strangers, color=ANOMALOUS, linestyle="--", label="strangers as they are")
    axes.plot(factors[0], bits[0], "o", color=TRUTH, label="test patches as they are")
    axes.set(xlabel="contrast, as a factor", ylabel="bits per dimension")
    open_frame(axes)
    axes.legend(frameon=False)
    return figure
