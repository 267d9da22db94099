"""Pictures that are in two places: near-copies across training and test images, found by thumbnails.

A copy with other noise, another compression or brightness, the next frame of a video, a flipped or turned copy: as
thumbnails they are nearly equal. It is a sieve: read what it finds, and look at the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.datasets.image_set import ImageSet

SIDE = 16  # pixels of a thumbnail's side
ALIKE = 0.95  # correlation of two thumbnails from which on a pair is named


@dataclass(frozen=True)
class Match:
    """An image and the most similar one of another set. `similarity`: the correlation of their thumbnails, -1 to 1.

    `turned`: whether one of them had to be flipped or turned to match best.
    """

    image: Path
    twin: Path
    similarity: float
    turned: bool


def thumbnails(images: ImageSet) -> Tensor:
    """`(N, 16, 16)` gray thumbnails of mean 0 and norm 1, so that brightness and contrast drop out."""
    means = (image.mean(dim=1) for image, _ in images.batches(1))
    small = torch.cat([F.adaptive_avg_pool2d(mean, SIDE) for mean in means])
    centered = small - small.mean(dim=(1, 2), keepdim=True)
    return centered / centered.norm(dim=(1, 2), keepdim=True).clamp_min(1e-6)


def symmetries(pictures: Tensor) -> list[Tensor]:
    """Squares `(N, S, S)` in the eight ways to flip and turn them, unchanged first."""
    return [torch.rot90(side, k, (1, 2)) for side in (pictures, pictures.flip(2)) for k in range(4)]


def nearest(images: ImageSet, others: ImageSet) -> list[Match]:
    """For each of `images` the most similar of `others`, most similar pair first."""
    mine, theirs = thumbnails(images).flatten(1), symmetries(thumbnails(others))
    every = torch.stack([mine @ turned.flatten(1).T for turned in theirs])  # (8, N, M)
    best = every.amax(dim=0).max(dim=1)
    found = [
        Match(images.samples[i].image, others.samples[j].image, value, bool(every[0, i, j] < value - 1e-6))
        for i, (value, j) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True))
    ]
    return sorted(found, key=lambda match: -match.similarity)


def near_copies(images: ImageSet, others: ImageSet, alike: float = ALIKE) -> list[Match]:
    """The pairs of `nearest` whose similarity is at least `alike`: each is a leak until you have looked at it."""
    return [match for match in nearest(images, others) if match.similarity >= alike]
