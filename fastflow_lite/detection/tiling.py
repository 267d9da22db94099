"""Large images in pieces of their own resolution: cut into overlapping tiles, judged, and put together again.

Resizing a large image to the backbone's input size shrinks its defects with it. Tiles keep them as they are, and cost
as many images as there are tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fastflow_lite.datasets.image_files import read_image, read_mask
from fastflow_lite.datasets.image_set import ImageSet, Sample
from fastflow_lite.errors import DataError
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring import maps as scores

Corner = tuple[int, int]  # top, left


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along one side, in pixels: evenly spread, neighbors share `overlap` pixels or more.

    The first begins at 0, the last ends at `length`. ValueError unless `0 <= overlap < tile <= length`.

    >>> starts(100, tile=40, overlap=10)
    [0, 30, 60]
    >>> starts(101, tile=40, overlap=10)
    [0, 20, 41, 61]
    """
    if not 0 <= overlap < tile <= length:
        raise ValueError(f"need 0 <= overlap < tile <= length, got overlap {overlap}, tile {tile}, length {length}")
    count = 1 + math.ceil((length - tile) / (tile - overlap))
    return [round(k * (length - tile) / (count - 1)) for k in range(count)] if count > 1 else [0]


def corners(size: Sequence[int], tile: int, overlap: int) -> list[Corner]:
    """Top and left of every tile of an image of `size` (height, width), row by row."""
    return [(top, left) for top in starts(size[0], tile, overlap) for left in starts(size[1], tile, overlap)]


def cut(image: Tensor, tile: int, overlap: int) -> Tensor:
    """The tiles `(N, C, tile, tile)` of an image `(C, H, W)`, in the order of `corners`."""
    places = corners(image.shape[-2:], tile, overlap)
    return torch.stack([image[..., top : top + tile, left : left + tile] for top, left in places])


def join(tiles: Tensor, size: Sequence[int], overlap: int) -> Tensor:
    """One map `(C, *size)` from its tiles `(N, C, tile, tile)`, cut with the same `overlap`.

    Where tiles overlap their mean counts, weighted by the distance to the tile's border: near a border the backbone
    sees padding where the neighbor sees the image.

    >>> image = torch.rand(1, 50, 70)
    >>> torch.allclose(join(cut(image, 32, 8), (50, 70), 8), image)
    True
    """
    tile = tiles.shape[-1]
    places = corners(size, tile, overlap)
    if len(places) != len(tiles):
        raise ValueError(f"{len(tiles)} tiles, but an image of {tuple(size)} has {len(places)}: was it cut likewise?")
    inward = torch.minimum(torch.arange(1, tile + 1), torch.arange(tile, 0, -1)).to(tiles)
    weight = inward[:, None] * inward  # 1 in the tile's corners, highest in its middle
    total, weights = tiles.new_zeros(tiles.shape[1], *size), tiles.new_zeros(*size)
    for part, (top, left) in zip(tiles, places, strict=True):
        total[:, top : top + tile, left : left + tile] += weight * part
        weights[top : top + tile, left : left + tile] += weight
    return total / weights


@torch.inference_mode()
def predict(
    model: FastFlow, image: Tensor, tile: int = 256, overlap: int = 64, batch_size: int = 8
) -> tuple[Tensor, Tensor]:
    """The anomaly map `(1, H, W)` and the score, a scalar, of one image `(3, H, W)` of any size from `tile` on.

    The score is the model's image score of the whole map. Its threshold must come from maps made in the same way.
    """
    pieces = cut(image, tile, overlap)
    maps = torch.cat([model.predict(batch)[0] for batch in pieces.split(batch_size)])
    joined = join(maps, image.shape[-2:], overlap)
    return joined, scores.image_score(joined[None], model.image_score)[0]


class TiledSet(ImageSet):
    """Every tile of some images as an image of its own, at the files' own resolution: what `fit` takes.

    Split into training and held-out images first and cut then: tiles of one image are near-copies of each other
    where they overlap. DataError names a file that is smaller than a tile. A tile has its image's label, whether or
    not its part of the mask is empty.
    """

    def __init__(self, images: ImageSet, tile: int = 256, overlap: int = 64) -> None:
        self.places: list[Corner] = []
        samples: list[Sample] = []
        for sample in images.samples:
            size = _size_of(sample.image)
            if min(size) < tile:
                raise DataError(f"image {sample.image} is {size[1]} x {size[0]} pixels, smaller than a tile of {tile}")
            found = corners(size, tile, overlap)
            self.places += found
            samples += [sample] * len(found)
        super().__init__(samples, (tile, tile), images.root, images.category)
        self._last: tuple[Sample, Tensor, Tensor] | None = None  # neighbors are asked for one after the other

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self._whole(self.samples[index])
        (top, left), tile = self.places[index], self.size[0]
        part = (..., slice(top, top + tile), slice(left, left + tile))
        return image[part], mask[part]

    def subset(self, indices: Sequence[int]) -> TiledSet:
        """The tiles at `indices`."""
        chosen = object.__new__(TiledSet)
        ImageSet.__init__(chosen, [self.samples[i] for i in indices], self.size, self.root, self.category)
        chosen.places, chosen._last = [self.places[i] for i in indices], None
        return chosen

    def fingerprint(self) -> str:
        """sha256 over the files, and which tiles of them."""
        import hashlib

        names = [s.image.relative_to(self.root).as_posix() for s in self.samples]
        tiles = repr((self.size, list(zip(names, self.places, strict=True))))
        whole = ImageSet(list(dict.fromkeys(self.samples)), self.size, self.root).fingerprint()
        return hashlib.sha256(f"{whole} {tiles}".encode()).hexdigest()

    def _whole(self, sample: Sample) -> tuple[Tensor, Tensor]:
        last = self._last  # read once: `batches` asks from several threads
        if last is None or last[0] != sample:
            image = read_image(sample.image)
            mask = torch.zeros(image.shape[1:], dtype=torch.bool)
            if sample.mask is not None:
                mask = read_mask(sample.mask, sample.image, (image.shape[1], image.shape[2]))
            self._last = last = (sample, image, mask)
        return last[1:]


def full_size(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Each image `(3, H, W)` and mask `(H, W)` as its file has it, not resized."""
    for sample in images.samples:
        yield ImageSet([sample], _size_of(sample.image), images.root)[0]


def _size_of(path: Path) -> Corner:
    """Height and width, without decoding the picture."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"image {path} cannot be opened ({error}); replace or remove it") from error
