"""The paper's augmentation of training images: flips and a rotation, each with its probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastflow_lite.machine import prepare_torchvision


@dataclass(frozen=True)
class Augmentation:
    """Random flips and rotation of images, each with its probability.

    `horizontal`, `vertical` and `rotation` are probabilities; the angle is uniform in -`degrees` to `degrees`. The
    defaults are the paper's probabilities as its re-implementations quote them; the paper does not state the angle.
    Corners that a rotation leaves empty are filled with the mirrored image: black ones would be learned as normal. That
    is enough for images up to 2.8 times as long as wide.
    """

    horizontal: float = 0.5
    vertical: float = 0.3
    rotation: float = 0.7
    degrees: float = 180.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return `images` `(B, 3, H, W)`, each augmented with its own random numbers from `generator`."""
        return torch.stack([self._augment_one(image, generator) for image in images])

    def _augment_one(self, image: Tensor, generator: torch.Generator) -> Tensor:
        left_right, up_down, turned, angle = torch.rand(4, generator=generator).tolist()
        if left_right < self.horizontal:
            image = image.flip(-1)
        if up_down < self.vertical:
            image = image.flip(-2)
        return _rotate(image, self.degrees * (2 * angle - 1)) if turned < self.rotation else image


def _rotate(image: Tensor, degrees: float) -> Tensor:
    prepare_torchvision()
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = image.shape[-2:]
    wide = functional.pad(image, _margins(width, height), padding_mode="reflect")
    turned = functional.rotate(wide, degrees, interpolation=InterpolationMode.BILINEAR)
    return functional.center_crop(turned, [height, width])


def _margins(width: int, height: int) -> list[int]:
    """Return how many pixels to add on each side, in x and in y, so that every rotation finds all its pixels.

    A mirrored image has one pixel less than the image, which is the limit.

    >>> _margins(32, 32), _margins(40, 16), _margins(160, 16)
    ([8, 8], [3, 15], [2, 15])
    """
    diagonal = math.hypot(width, height)
    return [min(side - 1, math.ceil((diagonal - side) / 2) + 1) for side in (width, height)]
