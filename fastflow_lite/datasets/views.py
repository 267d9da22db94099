"""Views of normal images: each as another photograph of the part might be, and the same every time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.datasets.read_ahead import read_ahead
from fastflow_lite.errors import DataError

# Largest changes: what differs between two photographs of one kind of part under one camera, and no more, since a part
# that is turned by a quarter, or mirrored, may be a defect.
DEGREES, MOVE, SCALE = 5.0, 0.025, 0.03  # angle, share of a side, relative size
GAIN, TINT, OFFSET = 0.12, 0.015, 0.03  # relative change of light, and of each color; what is added to values in [0, 1]
FOCUS, GRAIN = 0.4, 0.008  # deviations: of a blur, in pixels of an image of 256; of the noise on values in [0, 1]
KEPT_BYTES = 2**28  # decoded images of at most so many bytes are kept, since each is needed for several views


class FilledSet:
    """Normal images, followed by views of them until there are `count`; a set of as many or more stays as it is.

    View `k` is of the image `k % len(images)`. Its change depends on `seed` and `k` alone, so its features can be kept.
    Where there are views, the first `KEPT_BYTES` of decoded images stay in memory, so that their files are read once.
    """

    def __init__(self, images: ImageSet | TensorSet, count: int, seed: int = 0) -> None:
        if not len(images):
            raise DataError(f"there are no images below {images.root} to make views of")
        self.images, self.seed = images, seed
        self.size: tuple[int, int] = images.size
        self.root: Path | str = images.root
        self._count = max(count, len(images))
        room = KEPT_BYTES // (13 * math.prod(self.size))  # three channels of 4 bytes, and a mask
        self._keep = min(room, len(images)) if self._count > len(images) else 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image or a view `(3, H, W)`, and the mask of a normal image."""
        image, mask = self._original(index % len(self.images))
        if index < len(self.images):
            return image, mask
        return view(image, torch.Generator().manual_seed(self.seed * 1_000_003 + index)), mask

    def _original(self, index: int) -> tuple[Tensor, Tensor]:
        if index >= self._keep:
            return self.images[index]
        if index not in self._kept:  # two threads may both read it, and keep the same
            self._kept[index] = self.images[index]
        return self._kept[index]

    def batches(self, size: int, pin: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an iterator over images, then views, in order, `size` at a time, read ahead as by `read_ahead`."""
        return read_ahead(self.__getitem__, len(self), size, self.size, pin)

    def name_of(self, index: int) -> str:
        """Return the name of one image for messages."""
        return self.images.name_of(index % len(self.images))


def view(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return another view of `image` `(3, H, W)` in [0, 1]; what lies outside is the mirrored image.

    It is turned, moved, scaled, less sharp, lighter or darker, of another color and with noise, each a little.
    """
    from scipy import ndimage  # here, so that those who train without views do not wait for it

    height, width = image.shape[-2:]
    signed = (2 * torch.rand(9, generator=generator, dtype=torch.float64) - 1).tolist()
    focus, grain = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    angle, right, down, scale, gain, offset, *tint = signed
    turn, zoom = math.radians(angle * DEGREES), 1 + scale * SCALE
    cosine, sine = zoom * math.cos(turn), zoom * math.sin(turn)
    # Coordinates run from -1 to 1 along each side, so an oblong image needs the ratio of its sides.
    rows = [[cosine, -sine * height / width, 2 * right * MOVE], [sine * width / height, cosine, 2 * down * MOVE]]
    grid = F.affine_grid(torch.tensor(rows)[None], [1, 3, height, width], align_corners=False)
    moved = F.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]
    blur = focus * FOCUS * height / 256
    moved = torch.from_numpy(ndimage.gaussian_filter(moved.numpy(), (0, blur, blur), truncate=3.0))
    light = 1 + gain * GAIN + TINT * torch.tensor(tint).view(3, 1, 1)
    noise = torch.randn(moved.shape, generator=generator)
    return (moved * light + offset * OFFSET + grain * GRAIN * noise).clamp(0, 1)
