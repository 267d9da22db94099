"""Large images in tiles: cut into overlapping squares, predicted one by one, and joined to one map.

Resizing a large image to the backbone's input size shrinks its defects too. Tiles keep the resolution of the file, and
cost as many predictions as there are tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fastflow_lite.errors import ArgumentError
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring import maps as scores

Corner = tuple[int, int]  # top, left


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Compute where the tiles begin along one side of `length` pixels, evenly spaced.

    Neighbors share `overlap` pixels or more. The first tile begins at 0, the last one ends at `length`. ArgumentError
    unless `0 <= overlap < tile <= length`.

    >>> tile_starts(100, tile=40, overlap=10)
    [0, 30, 60]
    >>> tile_starts(101, tile=40, overlap=10)
    [0, 20, 41, 61]
    """
    if not 0 <= overlap < tile <= length:
        raise ArgumentError(f"need 0 <= overlap < tile <= length, got overlap {overlap}, tile {tile}, length {length}")
    count = 1 + math.ceil((length - tile) / (tile - overlap))
    return [round(k * (length - tile) / (count - 1)) for k in range(count)] if count > 1 else [0]


def tile_corners(size: Sequence[int], tile: int, overlap: int) -> list[Corner]:
    """Compute top and left of every tile of an image of `size` (height, width), row by row."""
    tops, lefts = tile_starts(size[0], tile, overlap), tile_starts(size[1], tile, overlap)
    return [(top, left) for top in tops for left in lefts]


def cut_tiles(image: Tensor, tile: int, overlap: int) -> Tensor:
    """Cut an image `(C, H, W)` into tiles `(N, C, tile, tile)`, in the order of `tile_corners`."""
    corners = tile_corners(image.shape[-2:], tile, overlap)
    return torch.stack([image[..., top : top + tile, left : left + tile] for top, left in corners])


def join_tiles(tiles: Tensor, size: Sequence[int], overlap: int) -> Tensor:
    """Join tiles `(N, C, tile, tile)` to one map `(C, *size)`; they were cut with the same `overlap`.

    Where tiles overlap, the map is their mean, weighted by the distance to the border of each tile: near a border the
    backbone computes from padding, where the neighboring tile has the image. ArgumentError if the number of tiles is
    wrong.

    >>> image = torch.rand(1, 50, 70)
    >>> torch.allclose(join_tiles(cut_tiles(image, 32, 8), (50, 70), 8), image)
    True
    """
    tile = tiles.shape[-1]
    corners = tile_corners(size, tile, overlap)
    if len(corners) != len(tiles):
        raise ArgumentError(
            f"{len(tiles)} tiles, but an image of {tuple(size)} has {len(corners)}: was it cut in the same way?"
        )
    inward = torch.minimum(torch.arange(1, tile + 1), torch.arange(tile, 0, -1)).to(tiles)
    weight = inward[:, None] * inward  # 1 in the corners of the tile, highest in its middle
    total, weights = tiles.new_zeros(tiles.shape[1], *size), tiles.new_zeros(*size)
    for part, (top, left) in zip(tiles, corners, strict=True):
        total[:, top : top + tile, left : left + tile] += weight * part
        weights[top : top + tile, left : left + tile] += weight
    return total / weights


@torch.inference_mode()
def predict_tiled(
    model: FastFlow, image: Tensor, tile: int = 256, overlap: int = 64, batch_size: int = 8
) -> tuple[Tensor, Tensor]:
    """Compute the anomaly map `(1, H, W)` and the score, a scalar, of one image `(3, H, W)` of at least one tile.

    The score is the model's image score of the joined map. Its threshold must come from maps made in the same way.
    """
    batches = cut_tiles(image, tile, overlap).split(batch_size)
    maps = torch.cat([model.predict(batch)[0] for batch in batches])
    joined = join_tiles(maps, image.shape[-2:], overlap)
    return joined, scores.image_score(joined[None], model.image_score)[0]
