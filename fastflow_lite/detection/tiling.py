"""Large images in tiles: cut into overlapping squares, predicted one by one, and joined to one map.

Resizing a large image to the backbone's input size shrinks its defects too. Tiles keep the resolution of the file, and
cost as many predictions as there are tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fastflow_lite.datasets.image_files import ImageFile
from fastflow_lite.errors import ArgumentError, DataError, check_whole
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring import maps as scores

Corner = tuple[int, int]  # top, left


class Tiles(NamedTuple):
    """The side of square tiles in pixels, and how many pixels neighbors share at least."""

    side: int
    overlap: int

    @classmethod
    def checked(cls, tile: int | None, overlap: int | None) -> Tiles | None:
        """Return the tiles that two arguments describe, None without `tile`; `overlap` is a quarter by default."""
        if tile is None:
            if overlap is not None:
                raise ArgumentError(f"overlap={overlap} is that of tiles: give tile too, such as tile=256")
            return None
        side = check_whole("tile", tile, 1)
        shared = side // 4 if overlap is None else check_whole("overlap", overlap, 0)
        if shared >= side:
            raise ArgumentError(f"overlap must be smaller than a tile, got overlap {shared} and tile {side}")
        return cls(side, shared)


def check_holds_tile(name: object, size: Sequence[int], tile: int) -> None:
    """Raise DataError, with the `name`, if an image of `size` (height, width) is smaller than a tile."""
    if min(size) < tile:
        raise DataError(
            f"image {name} is {size[1]} x {size[0]} pixels, smaller than a tile of {tile}: take smaller tiles or none"
        )


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
    return _join(tiles, size, tile, overlap)


@torch.inference_mode()
def predict_tiled(
    model: FastFlow, image: Tensor | str | Path, tile: int = 256, overlap: int = 64, batch_size: int = 8
) -> tuple[Tensor, Tensor]:
    """Compute the anomaly map `(1, H, W)` and the score, a scalar, of one image of at least one tile.

    The image is a tensor `(3, H, W)` or a file. A file is kept as its bytes, and only the tiles of one batch are in
    memory as float32: for a line scan of 200 million pixels, give the file. The score is the model's image score of the
    joined map. Its threshold must come from maps made in the same way.
    """
    batch_size = check_whole("batch_size", batch_size, 1)
    read: Callable[[int, int, int, int], Tensor]
    if isinstance(image, Tensor):
        size, read = tuple(image.shape[-2:]), partial(_part, image)
    else:
        file = ImageFile(Path(image), model.input_format.white_level)
        size, read = file.size, file.part
    corners = tile_corners(size, tile, overlap)

    def maps() -> Iterator[Tensor]:
        for start in range(0, len(corners), batch_size):
            batch = [read(top, left, tile, tile) for top, left in corners[start : start + batch_size]]
            yield from model.predict(torch.stack(batch))[0]

    joined = _join(maps(), size, tile, overlap)
    return joined, scores.image_score(joined[None], model.image_score)[0]


def _part(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    return image[..., top : top + height, left : left + width]


def _join(tiles: Iterable[Tensor], size: Sequence[int], tile: int, overlap: int) -> Tensor:
    """Join tiles `(C, tile, tile)`, which are taken one by one, to one map `(C, *size)`."""
    joined = JoinedMap(size, Tiles(tile, overlap))
    for part, corner in zip(tiles, tile_corners(size, tile, overlap), strict=True):
        joined.add(part, corner)
    return joined.finished()


class JoinedMap:
    """The map `(C, *size)` of an image, to which the maps of its tiles are added; see `join_tiles`."""

    def __init__(self, size: Sequence[int], tiles: Tiles) -> None:
        self.size, self.tiles = size, tiles
        self._inward = torch.minimum(torch.arange(1, tiles.side + 1), torch.arange(tiles.side, 0, -1))
        self._weight = self._inward[:, None] * self._inward  # 1 in the corners of a tile, highest in its middle
        self._total: Tensor | None = None

    def add(self, part: Tensor, corner: Corner) -> None:
        """Add the map `(C, tile, tile)` of the tile at `corner`."""
        if self._total is None:  # now, so that a map that is not begun takes no memory
            self._total, self._weight = part.new_zeros(len(part), *self.size), self._weight.to(part)
        _part(self._total, *corner, *part.shape[-2:]).add_(self._weight * part)

    def finished(self) -> Tensor:
        """Return the map, once every tile was added."""
        if self._total is None:
            raise ArgumentError("no tile was added to the map")
        rows, columns = (self._weights(side) for side in self.size)
        step = self.tiles.side
        for top in range(0, self.size[0], step):  # in bands, so that the weights take no memory of the map's size
            self._total[:, top : top + step] /= (rows[top : top + step, None] * columns).to(self._total)
        return self._total

    def _weights(self, side: int) -> Tensor:
        weights = torch.zeros(side, dtype=self._inward.dtype)
        for start in tile_starts(side, *self.tiles):
            weights[start : start + self.tiles.side] += self._inward
        return weights
