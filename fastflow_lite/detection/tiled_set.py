"""The tiles of large image files as one data set."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from fastflow_lite.datasets.decoding import image_size
from fastflow_lite.datasets.image_files import ImageFile
from fastflow_lite.datasets.image_set import GOOD, ImageSet, Sample, read_sample_mask
from fastflow_lite.detection.tiling import Corner, check_holds_tile, tile_corners
from fastflow_lite.errors import DataError

_DECODING = threading.Lock()


class TiledSet(ImageSet):
    """Every tile of some images as an image of its own, at the resolution of the files, for `fit` and `evaluate`.

    Tiles of one image are near-copies of each other where they overlap, so `split` keeps them together. A tile is
    anomalous if its part of the mask marks a pixel, else it is normal. DataError, with the file, for an image that is
    smaller than a tile.
    """

    def __init__(self, images: ImageSet, tile: int = 256, overlap: int = 64) -> None:
        self.corners: list[Corner] = []
        samples: list[Sample] = []
        for sample in images.samples:
            size = image_size(sample.image)
            check_holds_tile(sample.image, size, tile)
            corners = tile_corners(size, tile, overlap)
            self.corners += corners
            samples += _tile_samples(sample, size, corners, tile)
        super().__init__(samples, (tile, tile), images.root, images.category, images.white_level)
        self._last: tuple[Sample, ImageFile, Tensor] | None = None  # consecutive tiles come from one file

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one tile `(3, tile, tile)` and its part of the mask `(tile, tile)`."""
        file, mask = self._read(self.samples[index])
        (top, left), tile = self.corners[index], self.size[0]
        return file.part(top, left, tile, tile), mask[top : top + tile, left : left + tile]

    @property
    def labels(self) -> np.ndarray:
        """`(N,)` bool, True for a tile with a marked pixel. DataError for a defect without a mask."""
        if unknown := [s.image for s in self.samples if s.defect != GOOD and s.mask is None]:
            raise DataError(
                f"image {unknown[0]} shows a defect but has no mask, so which of its tiles are normal is unknown: add "
                "masks, or score whole images with predict_tiled"
            )
        return super().labels

    def subset(self, indices: Sequence[int]) -> TiledSet:
        """Return a set of the tiles at `indices`."""
        chosen = object.__new__(TiledSet)
        ImageSet.__init__(
            chosen, [self.samples[i] for i in indices], self.size, self.root, self.category, self.white_level
        )
        chosen.corners, chosen._last = [self.corners[i] for i in indices], None
        return chosen

    def fingerprint(self) -> str:
        """Return a sha256 over the files and the places of the tiles."""
        names = [s.image.relative_to(self.root).as_posix() for s in self.samples]
        tiles = repr((self.size, list(zip(names, self.corners, strict=True))))
        files = {(s.image, s.mask): s for s in self.samples}
        whole = ImageSet(list(files.values()), self.size, self.root, "", self.white_level).fingerprint()
        return hashlib.sha256(f"{whole} {tiles}".encode()).hexdigest()

    def _read(self, sample: Sample) -> tuple[ImageFile, Tensor]:
        """Return the decoded image and the whole mask; the last ones are kept."""
        with _DECODING:  # threads that come to a new file together wait for one of them to decode it
            last = self._last
            if last is None or (last[0].image, last[0].mask) != (sample.image, sample.mask):
                self._last = last = None  # the pixels of the file before, before those of this one are decoded
                file = ImageFile(sample.image, self.white_level)
                last = sample, file, read_sample_mask(sample, file.size)
                self._last = last
            return last[1:]


def _tile_samples(sample: Sample, size: tuple[int, int], corners: list[Corner], tile: int) -> list[Sample]:
    """Return a sample for each tile of an image: a normal one where nothing is marked."""
    if sample.defect == GOOD or sample.mask is None:
        return [sample] * len(corners)
    mask, unmarked = read_sample_mask(sample, size), replace(sample, defect=GOOD)
    return [sample if mask[y : y + tile, x : x + tile].any() else unmarked for y, x in corners]


def full_size(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each image `(3, H, W)` and mask `(H, W)` in the size of its file."""
    for sample in images.samples:
        yield ImageSet([sample], image_size(sample.image), images.root, "", images.white_level)[0]
