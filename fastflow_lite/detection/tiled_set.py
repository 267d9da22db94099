"""The tiles of large image files as one data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from fastflow_lite.datasets.image_set import ImageSet, Sample
from fastflow_lite.detection.tiling import Corner, tile_corners
from fastflow_lite.errors import DataError


class TiledSet(ImageSet):
    """Every tile of some images as an image of its own, at the resolution of the files, for `fit`.

    Split the images into training and held-out images before you cut them: tiles of one image are near-copies of each
    other where they overlap. A tile has the label of its image, also if its part of the mask is empty. DataError, with
    the file, for an image that is smaller than a tile.
    """

    def __init__(self, images: ImageSet, tile: int = 256, overlap: int = 64) -> None:
        self.corners: list[Corner] = []
        samples: list[Sample] = []
        for sample in images.samples:
            size = _size_of(sample.image)
            if min(size) < tile:
                raise DataError(f"image {sample.image} is {size[1]} x {size[0]} pixels, smaller than a tile of {tile}")
            corners = tile_corners(size, tile, overlap)
            self.corners += corners
            samples += [sample] * len(corners)
        super().__init__(samples, (tile, tile), images.root, images.category)
        self._last: tuple[Sample, Tensor, Tensor] | None = None  # consecutive tiles come from one file

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one tile `(3, tile, tile)` and its part of the mask `(tile, tile)`."""
        image, mask = self._read(self.samples[index])
        (top, left), tile = self.corners[index], self.size[0]
        part = (..., slice(top, top + tile), slice(left, left + tile))
        return image[part], mask[part]

    def subset(self, indices: Sequence[int]) -> TiledSet:
        """Return a set of the tiles at `indices`."""
        chosen = object.__new__(TiledSet)
        ImageSet.__init__(chosen, [self.samples[i] for i in indices], self.size, self.root, self.category)
        chosen.corners, chosen._last = [self.corners[i] for i in indices], None
        return chosen

    def fingerprint(self) -> str:
        """Return a sha256 over the files and the places of the tiles."""
        names = [s.image.relative_to(self.root).as_posix() for s in self.samples]
        tiles = repr((self.size, list(zip(names, self.corners, strict=True))))
        whole = ImageSet(list(dict.fromkeys(self.samples)), self.size, self.root).fingerprint()
        return hashlib.sha256(f"{whole} {tiles}".encode()).hexdigest()

    def _read(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Return the whole image and mask; the last ones are kept."""
        last = self._last  # read once: `batches` reads from several threads
        if last is None or last[0] != sample:
            self._last = last = (sample, *_read_full_size(sample, self.root))
        return last[1:]


def full_size(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each image `(3, H, W)` and mask `(H, W)` in the size of its file."""
    for sample in images.samples:
        yield _read_full_size(sample, images.root)


def _read_full_size(sample: Sample, root: Path) -> tuple[Tensor, Tensor]:
    return ImageSet([sample], _size_of(sample.image), root)[0]


def _size_of(path: Path) -> tuple[int, int]:
    """Return height and width, from the header of the file."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"image {path} cannot be opened ({error}); replace or remove it") from error
