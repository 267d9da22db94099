"""Figures of a backbone: its first filters, the places with similar features, its anomaly maps beside others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.backbones.frozen import Backbone
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.evaluation.result import Result
from fastflow_lite.figures.layout import as_label, hide_ticks, name_row, new_grid, new_panel, set_title, show_image
from fastflow_lite.figures.maps import heat_range, maps_in_columns
from fastflow_lite.figures.style import ALARM_LINE, LABELS, MASKS
from fastflow_lite.synthetic.scenes import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Place(NamedTuple):
    """A cell of a feature map: which image, which row, which column."""

    image: int
    row: int
    column: int


def first_filters(backbone: Backbone) -> Tensor:
    """Return the weights `(K, 3, h, w)` of the first convolution, the only layer whose input has colors."""
    return next(module.weight for module in backbone.modules() if isinstance(module, nn.Conv2d)).detach()


@torch.inference_mode()
def layer_maps(backbone: Backbone, images: ImageSet, layer: int, batch_size: int = 8) -> Tensor:
    """Return maps `(N, C, h, w)` of one layer (0 is the finest), the vector at every position of length 1."""
    parts = [backbone(batch.to(backbone.mean.device))[layer].cpu() for batch, _ in images.batches(batch_size)]
    maps = torch.cat(parts)
    return F.normalize(maps - maps.mean(dim=1, keepdim=True), dim=1)


def nearest_places(maps: Tensor, query: Place, count: int = 5) -> list[Place]:
    """Return the most similar place (cosine) of each other image, the `count` best of them, best first.

    `maps` are those of `layer_maps`. One place an image, or the neighbors of one good match would fill the list.
    """
    wanted = maps[query.image, :, query.row, query.column]
    alike = torch.einsum("c,nchw->nhw", wanted, maps).flatten(1)
    alike[query.image] = -torch.inf
    best, where = alike.max(dim=1)
    chosen = best.argsort(descending=True)[:count].tolist()
    return [Place(k, *divmod(int(where[k]), maps.shape[3])) for k in chosen]


def patch_at(images: ImageSet, place: Place, stride: int, side: int) -> Tensor:
    """Return the pixels `(3, side, side)` around the middle of a place, moved inwards at the border."""
    image, _ = images[place.image]
    corners = [
        min(max(0, int((cell + 0.5) * stride) - side // 2), length - side)
        for cell, length in zip(place[1:], images.size, strict=True)
    ]
    return image[:, corners[0] : corners[0] + side, corners[1] : corners[1] + side]


@torch.inference_mode()
def same_kind(maps: Tensor, kinds: Sequence[int], step: int = 2) -> float:
    """Return the share of places whose most similar place in any other image lies in an image of the same kind.

    `maps` are those of `layer_maps`, `kinds` `(N,)` are what each image shows. Every `step`-th row and column is
    compared.
    """
    kinds_of = torch.as_tensor(np.asarray(kinds))
    hits, asked = 0, 0
    for k, one in enumerate(maps):
        queries = one[:, ::step, ::step].flatten(1)  # (C, Q)
        best = torch.stack([(queries.T @ other.flatten(1)).amax(dim=1) for other in maps])  # (N, Q)
        best[k] = -torch.inf
        hits += int((kinds_of[best.argmax(dim=0)] == kinds_of[k]).sum())
        asked += queries.shape[1]
    return hits / asked


# ---- figures -------------------------------------------------------------------------------------


def draw_pictures(rows: Sequence[Sequence[np.ndarray]]) -> Figure:
    """Draw pictures `(n, n, 3)` in 0..1 in rows and columns, nothing between them."""
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    figure, axes = new_panel(0.8 * len(rows[0]), 0.8 * len(rows))
    axes.imshow(sheet)
    axes.axis("off")
    return figure


def draw_scenes(scenes: Sequence[Scene]) -> Figure:
    """Draw a column for each scene: the image, then its labels of every pixel. Equal colors in a row are one label."""
    figure, grid = new_grid(4, len(scenes), 1.1)
    for row, name in enumerate(("material", "outline"), 1):
        labels = np.stack([getattr(scene, name) for scene in scenes])
        numbered = np.searchsorted(np.unique(labels), labels) % 20
        for axes, colors in zip(grid[row], numbered, strict=True):
            axes.imshow(colors, cmap=LABELS, vmin=0, vmax=19, interpolation="nearest")
    for column, scene in zip(grid.T, scenes, strict=True):
        column[0].imshow(scene.image)
        column[3].imshow(scene.flaw, cmap=MASKS, vmin=0, vmax=1)
    for axes in grid.ravel():
        hide_ticks(axes)
    for axes, name in zip(grid[:, 0], ("image", "material", "outline", "spoilt"), strict=True):
        name_row(axes, name)
    return figure


def draw_filters(filters: Mapping[str, Tensor], count: int = 32) -> Figure:
    """Draw the `count` strongest filters of each backbone, a block of rows each, every filter on its own scale."""
    columns = 16
    rows = -(-count // columns)
    figure, grid = new_grid(rows * len(filters), columns, 0.5)
    for block, (name, weights) in enumerate(filters.items()):
        strongest = weights.flatten(1).norm(dim=1).argsort(descending=True)[:count]
        for axes, weight in zip(grid[rows * block :].ravel(), weights[strongest].cpu(), strict=False):
            show_image(axes, 0.5 + 0.5 * weight / weight.abs().max())
        grid[rows * block, 0].set_ylabel(name, rotation=0, ha="right")
    for axes in grid.ravel():
        hide_ticks(axes)
    return figure


def draw_patches(
    images: ImageSet, queries: Sequence[Place], found: Mapping[str, Sequence[Sequence[Place]]], stride: int, side: int
) -> Figure:
    """Draw a row for each query and backbone: the query's pixels, then those of the places found, best first."""
    count = max(len(places) for rows in found.values() for places in rows)
    figure, grid = new_grid(len(queries) * len(found), count + 1, 0.9)
    rows = [(query, name, found[name][k]) for k, query in enumerate(queries) for name in found]
    for axes_row, (query, name, places) in zip(grid, rows, strict=True):
        for axes, place in zip(axes_row, [query, *places], strict=True):
            show_image(axes, patch_at(images, place, stride, side))
        name_row(axes_row[0], name)
        axes_row[0].spines[:].set(color=ALARM_LINE, linewidth=2)
    set_title(grid[0, 0], "query")
    set_title(grid[0, 1], "nearest")
    return figure


def draw_maps(results: Mapping[str, Result], images: ImageSet, indices: Sequence[int]) -> Figure:
    """Draw images with the true outline, then each model's maps, on that model's own scale for all images."""
    pictures, masks = zip(*(images[index] for index in indices), strict=True)
    return maps_in_columns(
        torch.stack(pictures),
        torch.stack(masks).numpy(),
        {f"{name}\n{_auroc(result)}": result.maps[list(indices)] for name, result in results.items()},
        [as_label(images.defects[index]) for index in indices],
        [heat_range(result) for result in results.values()],
        side=1.6,
    )


def _auroc(result: Result) -> str:
    pixel = f" / {result.pixel_auroc:.3f}" if np.isfinite(result.pixel_auroc) else ""
    return f"{result.image_auroc:.3f}{pixel}"
