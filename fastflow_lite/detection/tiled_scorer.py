"""Raw maps and scores of large images, each at its own size: computed in tiles, and joined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets.image_files import ImageFile
from fastflow_lite.datasets.image_inputs import named_images, part_of, read_input, size_of
from fastflow_lite.datasets.ready_batches import ready_batches
from fastflow_lite.detection.ignored_region import leave_out
from fastflow_lite.detection.scorer import OnError, Scored, Scorer
from fastflow_lite.detection.tiling import Corner, JoinedMap, Tiles, check_holds_tile, tile_corners
from fastflow_lite.devices.worker_threads import computed_ahead, worker_count
from fastflow_lite.errors import ArgumentError, DataError, check_whole
from fastflow_lite.evaluation.anomaly_model import AnomalyModel
from fastflow_lite.scoring.maps import check_finite, image_score

AHEAD = 1  # images that are decoded before they are used: a line scan may take a gigabyte


@dataclass
class _Image:
    """An image of which some tiles are not yet scored."""

    name: str
    size: tuple[int, int]
    joined: JoinedMap
    tiles_left: int


@dataclass
class _Tile:
    """A tile `(3, tile, tile)` that waits to be scored."""

    image: _Image
    corner: Corner
    pixels: Tensor


@dataclass
class TiledScorer(Scorer):
    """Computes maps and scores of images at their own size, in tiles. Several threads may use it.

    The score is the image score of the joined map. A batch holds tiles of one image or of several. In memory are the
    pixels of two images, in the depth of their files, and the map of one, 4 bytes a pixel.

    Attributes:
        tiles: Side and overlap of the tiles; `size` is that of a tile.
    """

    tiles: Tiles = field(default_factory=lambda: Tiles(256, 64))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size != (self.tiles.side, self.tiles.side):
            raise ArgumentError(f"size must be that of a tile, {self.tiles.side} x {self.tiles.side}, got {self.size}")

    def __call__(self, source: Any, batch_size: int = 8, on_error: OnError | None = None) -> Iterator[Scored]:
        """Yield the images of `source` in order, as `Scorer` does; `batch_size` counts tiles."""
        check_whole("batch_size", batch_size, 1)
        images = named_images(source)
        workers = worker_count(self.model.device) if isinstance(images, Sized) else 1
        for tiles, maps in computed_ahead(self._maps, self._tiles(images, batch_size, workers, on_error), workers):
            yield from self._joined(tiles, maps)

    def _tiles(
        self, images: Iterable[tuple[str, Any]], batch_size: int, workers: int, on_error: OnError | None
    ) -> Iterator[list[_Tile]]:
        """Yield batches of tiles, of one image or several. An error is raised after the tiles before it."""
        waiting: list[_Tile] = []
        for batch in ready_batches(self._open, images, 1, AHEAD):
            (name, _), future = batch.pop()  # out of the list: its pixels are to go when the last tile is cut
            try:
                pixels = future.result()
            except DataError as error:
                if on_error is None:
                    yield waiting
                    raise
                on_error(name, error)
                continue
            finally:
                del future
            size = size_of(pixels)
            corners = tile_corners(size, *self.tiles)
            if isinstance(images, Sized):  # no worker shall wait while another computes a single batch
                batch_size = min(batch_size, math.ceil(len(corners) * len(images) / workers))
            image = _Image(name, size, JoinedMap(size, self.tiles), len(corners))
            for corner in corners:
                waiting.append(_Tile(image, corner, part_of(pixels, *corner, *self.size)))
                if len(waiting) >= batch_size:
                    yield waiting
                    waiting = []
            del pixels, image
            if not isinstance(images, Sized):  # the next frame of a camera may be long in coming
                yield waiting
                waiting = []
        yield waiting

    def _open(self, named: tuple[str, Any]) -> ImageFile | Tensor:
        """Return the decoded image. DataError if it is smaller than a tile, or a value is out of range."""
        image = read_input(*named, self.model.input_format.white_level)
        check_holds_tile(named[0], size_of(image), self.tiles.side)
        if isinstance(image, ImageFile):
            image.check_values()
        return image

    def _joined(self, tiles: list[_Tile], maps: Tensor) -> Iterator[Scored]:
        """Add maps `(N, 1, tile, tile)` to those of their images; yield the images that have no other tiles left."""
        done = list(zip(tiles, maps, strict=True))
        tiles.clear()
        while done:
            tile, part = done.pop(0)
            image = tile.image
            image.joined.add(part, tile.corner)
            image.tiles_left -= 1
            if not image.tiles_left:
                yield self._finished(image)
            del tile, image  # and its map, before that of the next image is made

    @torch.inference_mode()
    def _maps(self, tiles: list[_Tile]) -> tuple[list[_Tile], Tensor]:
        """Return the tiles and their raw maps, on the host: the joined map may be larger than the memory of a GPU."""
        if not tiles:
            return tiles, torch.empty(0)
        prepared = self.prepared()
        maps = prepared.model.anomaly_map(prepared(torch.stack([tile.pixels for tile in tiles])), self.size)
        return tiles, check_finite(maps, maps)[0].float().cpu()

    @torch.inference_mode()
    def _finished(self, image: _Image) -> Scored:
        joined = image.joined.finished()
        if self.ignore is not None:
            leave_out(joined[0].numpy(), self.ignore)
        score = float(image_score(joined[None], self.model.image_score))
        return Scored(image.name, image.size, joined[0].numpy(), score)


def make_scorer(
    model: AnomalyModel, size: tuple[int, int], ignore: np.ndarray | None, aspect: float | None, tiles: Tiles | None
) -> Scorer:
    """Return a scorer with these attributes, a `TiledScorer` if `tiles` are given."""
    return Scorer(model, size, ignore, aspect) if tiles is None else TiledScorer(model, size, ignore, aspect, tiles)
