"""Near duplicates of training images among test images, found by comparing thumbnails.

The thumbnails of two images are nearly equal if one is a copy of the other with other noise, compression or brightness,
flipped or turned, or the next frame of a video. Different images may be as similar: look at each pair that is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fastflow_lite.datasets.image_set import ImageSet

SIDE = 16  # pixels of a thumbnail's side
MIN_SIMILARITY = 0.95  # correlation of two thumbnails from which on two images count as near duplicates


@dataclass(frozen=True)
class Match:
    """An image and the most similar image of another set, its `twin`.

    `similarity` is the correlation of their thumbnails, -1 to 1. `turned` is True if they match best after one of them
    is flipped or turned.
    """

    image: Path
    twin: Path
    similarity: float
    turned: bool


def thumbnails(images: ImageSet) -> Tensor:
    """Compute gray thumbnails `(N, 16, 16)` of mean 0 and norm 1, so that brightness and contrast do not matter."""
    means = (image.mean(dim=1) for image, _ in images.batches(1))
    small = torch.cat([functional.adaptive_avg_pool2d(mean, SIDE) for mean in means])
    centered = small - small.mean(dim=(1, 2), keepdim=True)
    return centered / centered.norm(dim=(1, 2), keepdim=True).clamp_min(1e-6)


def symmetries(pictures: Tensor) -> list[Tensor]:
    """Return squares `(N, S, S)` in the eight ways to flip and turn them, unchanged first."""
    return [torch.rot90(side, k, (1, 2)) for side in (pictures, pictures.flip(2)) for k in range(4)]


def find_most_similar(images: ImageSet, others: ImageSet) -> list[Match]:
    """Find the most similar image of `others` for each of `images`; return the pairs, most similar first."""
    if not len(images) or not len(others):
        return []
    ours, theirs = thumbnails(images).flatten(1), symmetries(thumbnails(others))
    every = torch.stack([ours @ turned.flatten(1).T for turned in theirs])  # (8, N, M)
    best = every.amax(dim=0).max(dim=1)
    found = [
        Match(images.samples[i].image, others.samples[j].image, value, bool(every[0, i, j] < value - 1e-6))
        for i, (value, j) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True))
    ]
    return sorted(found, key=lambda match: -match.similarity)


def find_near_duplicates(images: ImageSet, others: ImageSet, min_similarity: float = MIN_SIMILARITY) -> list[Match]:
    """Return the pairs of `find_most_similar` whose similarity is at least `min_similarity`.

    If `others` is the training set, count each pair as a leak into the test set until you have looked at it.
    """
    return [match for match in find_most_similar(images, others) if match.similarity >= min_similarity]
