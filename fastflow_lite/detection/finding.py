"""What a detector found in one image: score, decision, map, mask and regions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from fastflow_lite.datasets.image_files import resize


class Region(NamedTuple):
    """A connected part of a mask: its box and area in pixels of the image, and the highest score of the map in it."""

    top: int
    left: int
    height: int
    width: int
    area: int
    peak: float


@dataclass(frozen=True)
class Finding:
    """The judgment of one image. Map, mask and regions are computed when they are first read.

    Attributes:
        name: The path as it was given, or "image 3" for the third image without a path, counted from 0.
        score: 0 to 1, with 0.5 at the threshold; see `ScoreScale`.
        raw_score: The score in the unit of the model's map.
        alarm: Whether the score reached the threshold.
        size: Height and width of the image.
        small_map: The map `(h, w)` in the scale of `score`, at the size that the network computes; with tiles, that is
            the size of the image.
        pixel_level: The score from which on a pixel belongs to the mask.
    """

    name: str
    score: float
    raw_score: float
    alarm: bool
    size: tuple[int, int]
    small_map: np.ndarray = field(repr=False, compare=False)
    pixel_level: float

    @cached_property
    def map(self) -> np.ndarray:
        """The map `(H, W)` float32 at the size of the image, in the scale of `score`."""
        small = torch.from_numpy(self.small_map)
        return resize(small[None], self.size)[0].numpy()

    @cached_property
    def mask(self) -> np.ndarray:
        """The pixels `(H, W)` bool that reach `pixel_level`: in normal images 0.1 % of the pixels did."""
        return self.map >= self.pixel_level

    @cached_property
    def regions(self) -> list[Region]:
        """The connected parts of the mask, diagonal neighbors included, highest peak first."""
        from scipy import ndimage

        labels, _ = ndimage.label(self.mask, np.ones((3, 3)))
        found = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            inside = labels[rows, columns] == number
            height, width = inside.shape
            peak = float(self.map[rows, columns][inside].max())
            found.append(Region(rows.start, columns.start, height, width, int(inside.sum()), peak))
        return sorted(found, key=lambda region: -region.peak)
