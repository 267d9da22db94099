"""Image files: read and resize them. Every error names the file that caused it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fastflow_lite.datasets.decoding import DEPTH_8, DEPTH_16, PILLOW_LIMIT, open_image, turn_upright
from fastflow_lite.errors import DataError

WHITE_16 = 65535  # the highest value of 16 bits
REMEDY = (  # for who opens images, and for who has a detector
    "convert it to 8 bits, or give white_level (--white-level) where the images are opened or the detector is trained"
)
BAND = 2**20  # pixels that are converted at once


def read_image(path: Path, white_level: int | None = WHITE_16) -> Tensor:
    """Read an image file as `(3, H, W)` float32 in [0, 1]; see `ImageFile`."""
    return ImageFile(path, white_level).whole()


class ImageFile:
    """A decoded image file, kept in the depth of the file. Its parts become tensors `(3, h, w)` float32 in [0, 1].

    Gray is repeated to three channels, 16 bits are divided by `white_level`, palettes are looked up, transparency is
    dropped. DataError for other modes (CMYK, floating point), for a file that `open_image` refuses, for a value above
    `white_level`, and for a file of 16 bits where `white_level` is None. A `picture` takes the place of the file's
    content, and `path` is then its name in messages.

    Attributes: `path`, `white_level`, `size` (height, width).
    """

    def __init__(self, path: Path, white_level: int | None = WHITE_16, picture: Image.Image | None = None) -> None:
        self.path, self.white_level = path, white_level
        self._picture = open_image(path) if picture is None else turn_upright(path, picture)
        self.size = self._picture.height, self._picture.width
        if self._picture.mode not in DEPTH_8 | DEPTH_16:
            raise DataError(f"image {path} has mode {self._picture.mode}; convert it to RGB or gray, 8 or 16 bits")
        if self.has_16_bits and white_level is None:
            raise DataError(
                f"image {path} has 16 bits, but no training image has, so its white level is not known: {REMEDY}, such "
                "as 4095 for a camera of 12 bits"
            )

    @property
    def has_16_bits(self) -> bool:
        """Whether the file is one of 16 bits."""
        return self._picture.mode in DEPTH_16

    def brightest(self) -> int:
        """Return the highest value in a file of 16 bits."""
        return max(int(np.asarray(self._crop(*part)).max()) for part in _bands(self.size, 0))

    def check_values(self) -> None:
        """Raise DataError if a value is out of range, as `part` does for the values in the part."""
        if self.has_16_bits:  # 8 bits are always in range
            for band in _bands(self.size, 0):
                self.part(*band)

    def part(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part `(3, height, width)` of the image."""
        picture = self._crop(top, left, height, width)
        if picture.mode in DEPTH_16 and self.white_level is not None:
            values = np.asarray(picture).astype(np.float32) / self.white_level
            if values.min() < 0 or values.max() > 1:
                raise DataError(
                    f"image {self.path} has values below 0 or above the white level {self.white_level}: {REMEDY}, at "
                    f"most {WHITE_16}"
                )
            return torch.from_numpy(values).expand(3, -1, -1).contiguous()
        values = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
        return torch.from_numpy(np.divide(values, 255, dtype=np.float32)).permute(2, 0, 1)

    def whole(self) -> Tensor:
        """Return the whole image `(3, H, W)`."""
        if self._is_small:
            return self.part(0, 0, *self.size)
        image = torch.empty(3, *self.size)
        for top, left, height, width in _bands(self.size, 0):
            image[:, top : top + height] = self.part(top, left, height, width)
        return image

    def resized(self, size: tuple[int, int]) -> Tensor:
        """Return the image resized to `size`, as by `resize`, without a float32 copy of a large image.

        Bands of a large image are resized along one side each, then all along the other side.
        """
        if self._is_small or self.size == size:
            return resize(self.whole(), size)
        # resize starts with the width, so bands of rows change nothing; columns take less memory for narrow images
        axis = 1 if self.size[1] < 4 * size[1] and self.size[0] >= 4 * size[0] else 0
        between = (self.size[0], size[1]) if axis == 0 else (size[0], self.size[1])
        image = torch.empty(3, *between)
        for band in _bands(self.size, axis):
            start, length = band[axis], band[axis + 2]
            target = (length, size[1]) if axis == 0 else (size[0], length)
            image.narrow(axis + 1, start, length).copy_(resize(self.part(*band), target))
        return resize(image, size)

    @property
    def _is_small(self) -> bool:
        return self.size[0] * self.size[1] <= BAND

    def _crop(self, top: int, left: int, height: int, width: int) -> Image.Image:
        with PILLOW_LIMIT.lifted():  # before Pillow 13 a part was compared with it, too
            return self._picture.crop((left, top, left + width, top + height))


def resize(image: Tensor, size: tuple[int, int], nearest: bool = False) -> Tensor:
    """Resize `(C, h, w)` to `(C, *size)`: bilinear with anti-aliasing, or nearest neighbor for masks of any type.

    The same as torchvision's `resize`, without its import, which takes a second.
    """
    if tuple(image.shape[1:]) == size:
        return image
    if nearest:
        rows, columns = (_nearest(*sides) for sides in zip(image.shape[1:], size, strict=True))
        return image[:, rows][:, :, columns]
    return nn.functional.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def _nearest(length: int, target: int) -> Tensor:
    """Return the places that resizing takes of `length` to give `target`: no float32 copy of a large mask is made."""
    places = torch.arange(length, dtype=torch.float32)
    return nn.functional.interpolate(places[None, None], target, mode="nearest-exact")[0, 0].long()


def _bands(size: tuple[int, int], axis: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield top, left, height and width of bands of rows (`axis` 0) or columns (1), each of about `BAND` pixels."""
    step = max(1, BAND // size[1 - axis])
    for start in range(0, size[axis], step):
        length = min(step, size[axis] - start)
        yield (start, 0, length, size[1]) if axis == 0 else (0, start, size[0], length)
