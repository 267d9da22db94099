"""Near duplicates: of training images among test images, and within one set, where a split must not part them.

`find_most_similar` compares whole thumbnails. They are nearly equal if one image is a copy of the other with other
noise, compression or brightness, flipped or turned, or the next frame of a video. Different images may be as similar,
such as those of aligned parts: look at each pair that is found. `find_copies` compares what a set does not have in
common, so it finds the same object in two images, and little else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.related_images import group_related
from fastflow_lite.datasets.thumbnails import alike, normalize, read_thumbnails, symmetries
from fastflow_lite.errors import DataError

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
    return normalize(torch.cat([functional.adaptive_avg_pool2d(mean, SIDE) for mean in means]))


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


def find_copies(images: Sequence[Path], others: Sequence[Path]) -> list[Match]:
    """Find the image files that show the same object, in the same place or flipped or turned, as one of `others`.

    Compare thumbnails by their details, from which the mean of `others` is taken: that two bottles are bottles does
    not count. Return the best pair for each image, most similar first. A file that cannot be read has none.
    """
    return best_matches(*_readable(images), *_readable(others))


def best_matches(images: Sequence[Path], ours: Tensor, others: Sequence[Path], theirs: Tensor) -> list[Match]:
    """Return what `find_copies` does, from the normalized thumbnails `(N, 64, 64)` of both."""
    if not len(images) or not len(others):
        return []
    best: dict[int, Match] = {}
    for i, j, similarity, turned in alike(ours, theirs, theirs.mean(dim=0, keepdim=True)):
        if i not in best or similarity > best[i].similarity:
            best[i] = Match(images[i], others[j], similarity, turned)
    return sorted(best.values(), key=lambda match: -match.similarity)


def _readable(paths: Sequence[Path]) -> tuple[list[Path], Tensor]:
    """Return the files that can be read, and their normalized thumbnails."""
    small, errors = read_thumbnails(paths)
    kept = [index for index in range(len(paths)) if index not in errors]
    return [paths[index] for index in kept], normalize(small[kept])


def split_normal(images: ImageSet, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Return the rest and about a `fraction` of the image files, at least one in each, both in order.

    Files that `group_related` puts in one group stay in one part, and so do tiles of one file. The groups are taken
    in an order made from the seed and the names, so that a few files more change little of the split.
    """
    files = list(dict.fromkeys(sample.image for sample in images.samples))
    if len(files) < 2 or not 0 < fraction < 1:
        raise DataError(f"cannot hold out a fraction {fraction} of {len(files)} images below {images.root}")
    count = min(max(1, round(fraction * len(files))), len(files) - 1)

    def place(group: list[Path]) -> str:
        name = os.fsencode(group[0].relative_to(images.root).as_posix())
        return hashlib.sha256(b"%d %b" % (seed, name)).hexdigest()

    groups = sorted(group_related(files, count), key=place)
    held_out: set[Path] = set()
    for group in groups:
        if len(held_out) + len(group) <= count:
            held_out.update(group)
    if 2 * len(held_out) < count:  # no group is small enough: one that is too large comes nearer
        others = [group for group in groups if held_out.isdisjoint(group)]
        held_out.update(others[min(range(len(others)), key=lambda k: len(others[k]))])
    parts: list[list[int]] = [[], []]
    for index, sample in enumerate(images.samples):
        parts[sample.image in held_out].append(index)
    return images.subset(parts[0]), images.subset(parts[1])
