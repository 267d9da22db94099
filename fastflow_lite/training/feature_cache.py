"""Features of a set of images: computed once and kept as float16, or computed anew from augmented images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import IO, Protocol

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.errors import DataError
from fastflow_lite.model import FastFlow

GIBIBYTE = 1024**3
Images = ImageSet | TensorSet


class Features(Protocol):
    """Float32 feature maps of a batch of training images, by index."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the maps `(B, C, h, w)` of each scale of the images at `indices`."""

    def start_epoch(self, seed: int) -> None:
        """Draw the augmentation from `seed` from here on."""

    def advance_generator(self, count: int) -> None:
        """Draw the augmentation of `count` images that another process loads."""


class FeatureCache:
    """Normalized feature maps of `count` images, `shapes` one `(C, h, w)` per scale.

    Up to `budget` bytes they stay in memory; beyond it each scale is a file in the temporary folder,
    mapped into memory and gone with the process. `cache[indices]` gives float32 maps of a batch, channels last in
    memory, the layout of `flows.fast`.
    """

    def __init__(self, count: int, shapes: Sequence[tuple[int, ...]], budget: int = 4 * GIBIBYTE) -> None:
        size = 2 * count * sum(int(np.prod(shape)) for shape in shapes)
        self.mapped = size > budget
        # Kept open as long as the cache: they vanish when closed.
        self._files = [tempfile.TemporaryFile() if self.mapped else None for _ in shapes]  # noqa: SIM115
        self._maps = [
            self._allocate(file, (count, height, width, channels))
            for file, (channels, height, width) in zip(self._files, shapes, strict=True)
        ]

    @staticmethod
    def _allocate(file: IO[bytes] | None, shape: tuple[int, ...]) -> np.ndarray:
        if file is None:
            return np.empty(shape, np.float16)
        size = 2 * int(np.prod(shape))
        if hasattr(os, "posix_fallocate"):  # a full disk would kill the process when it writes into a mapped hole
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                text = f"no room for {size / GIBIBYTE:.3f} GiB of features: {error.strerror}; set another TMPDIR"
                raise OSError(error.errno, text, tempfile.gettempdir()) from error
        return np.memmap(file, np.float16, "w+", shape=shape)

    def __len__(self) -> int:
        return len(self._maps[0])

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        return [torch.from_numpy(m[list(indices)]).float().permute(0, 3, 1, 2) for m in self._maps]

    def start_epoch(self, seed: int) -> None:
        """Do nothing: kept features are not augmented."""

    def advance_generator(self, count: int) -> None:
        """Do nothing: kept features are not augmented."""

    def write(self, start: int, maps: Sequence[Tensor]) -> None:
        """Store the maps of consecutive images from index `start` on."""
        for kept, new in zip(self._maps, maps, strict=True):
            kept[start : start + len(new)] = new.permute(0, 2, 3, 1).cpu().half().numpy()


@torch.inference_mode()
def cache_features(model: FastFlow, images: Images, batch_size: int, budget: int = 4 * GIBIBYTE) -> FeatureCache:
    """Compute the features of `images` by the frozen part of `model`, once.

    Fits the normalization first if it needs that. DataError, naming the images, when features are not finite or too
    large for float16.
    """
    _fit_normalization(model, images, batch_size)
    cache, start, prepared = None, 0, model.prepared_for_inference()
    for batch, _ in images.batches(batch_size):
        maps = prepared.features(batch)
        _check_finite(maps, images, start)
        cache = cache or FeatureCache(len(images), [tuple(m.shape[1:]) for m in maps], budget)
        cache.write(start, maps)
        start += len(batch)
    if cache is None:
        raise DataError(f"there are no images to learn from below {images.root}")
    return cache


class AugmentedFeatures:
    """Features of images that are augmented anew in every step, so that they cannot be kept.

    The decoded images are kept as uint8, up to `budget` bytes. `start_epoch` seeds the augmentation.
    """

    def __init__(self, model: FastFlow, images: Images, augment: Augmentation, budget: int = 2 * GIBIBYTE) -> None:
        self.model, self.images, self.augment = model, images, augment
        self.generator = torch.Generator()
        self._kept: dict[int, Tensor] = {}
        self._room = budget // (3 * images.size[0] * images.size[1])
        _fit_normalization(model, images, 8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        images = self.augment(torch.stack([self._image(i) for i in indices]), self.generator)
        with torch.inference_mode():
            maps = self.model.features(images.to(self.model.device))
        return [x.clone() for x in maps]  # inference tensors cannot take part in autograd

    def start_epoch(self, seed: int) -> None:
        """Draw the augmentation from `seed` from here on, so that a resumed run repeats it."""
        self.generator.manual_seed(seed)

    def advance_generator(self, count: int) -> None:
        """Advance the generator past `count` images that another process loads, by augmenting images of one pixel."""
        if count:
            self.augment(torch.zeros(count, 3, 1, 1), self.generator)

    def _image(self, index: int) -> Tensor:
        if index not in self._kept:
            image = (self.images[index][0] * 255).round().to(torch.uint8)
            if len(self._kept) >= self._room:
                return image.float() / 255
            self._kept[index] = image
        return self._kept[index].float() / 255


def _fit_normalization(model: FastFlow, images: Images, batch_size: int) -> None:
    """Fit the normalization to the features of `images`, if it needs that and has not been fitted."""
    if not any(normalize.needs_fit() for normalize in model.normalize):
        return
    sums = [torch.zeros(2, c, dtype=torch.float64) for c in model.backbone.channels]
    counts = [0] * len(sums)
    for batch, _ in images.batches(batch_size):
        for k, maps in enumerate(model.backbone(batch.to(model.device))):
            by_channel = maps.cpu().double().transpose(0, 1).flatten(1)
            sums[k] += torch.stack([by_channel.sum(dim=1), by_channel.square().sum(dim=1)])
            counts[k] += by_channel.shape[1]
    for normalize, total, count in zip(model.normalize, sums, counts, strict=True):
        normalize.fit(*(total / count))


def _check_finite(maps: Sequence[Tensor], images: Images, start: int) -> None:
    """Raise DataError with the names of images whose features are not finite in float16."""
    bad = {i for m in maps for i in (~torch.isfinite(m.half()).flatten(1).all(dim=1)).nonzero().flatten().tolist()}
    if bad:
        names = ", ".join(images.name_of(start + i) for i in sorted(bad)[:3])
        raise DataError(
            f"features of {len(bad)} image(s) are not finite in float16 ({names}); check the backbone's "
            "weights and its layers, or normalize='layer'"
        )
