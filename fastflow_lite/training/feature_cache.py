"""Features of a set of images, computed once and kept as float16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.backbones.batch_norm_folding import fold_batch_norm
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.datasets.views import FilledSet
from fastflow_lite.devices.feature_storage import HOST_BUDGET, Place, choose_place, free_memory, make_storage
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.errors import DataError
from fastflow_lite.model import FastFlow
from fastflow_lite.training.channel_statistics import ChannelStatistics

Images = ImageSet | TensorSet | FilledSet
CPU = torch.device("cpu")


class Features(Protocol):
    """Float32 feature maps of a batch of training images, by index, on the device of the model."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the maps `(B, C, h, w)` of each scale of the images at `indices`."""

    def start_epoch(self, seed: int) -> None:
        """Draw the augmentation from `seed` from here on."""

    def advance_generator(self, count: int) -> None:
        """Draw the augmentation of `count` images that another process loads."""


class FeatureCache:
    """Normalized feature maps of `count` images, `shapes` one `(C, h, w)` per scale, kept as float16.

    `place` is where: on `device` while there is room; else on the host, up to `budget` bytes; beyond it in files in
    the temporary folder, mapped into memory and gone with the process. By default `choose_place` decides.
    `cache[indices]` gives float32 maps of a batch on `device`, channels last in memory, the layout of `flows.fast`.
    """

    def __init__(
        self,
        count: int,
        shapes: Sequence[tuple[int, ...]],
        budget: int = HOST_BUDGET,
        device: torch.device = CPU,
        place: Place | None = None,
    ) -> None:
        size = 2 * count * sum(int(np.prod(shape)) for shape in shapes)
        self.place: Place = place or choose_place(size, free_memory(device), device.type, budget)
        self._count = count
        layouts = [(count, height, width, channels) for channels, height, width in shapes]
        self._storage = make_storage(self.place, layouts, device)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        return [x.float().permute(0, 3, 1, 2) for x in self._storage.read(list(indices))]

    def start_epoch(self, seed: int) -> None:
        """Do nothing: kept features are not augmented."""

    def advance_generator(self, count: int) -> None:
        """Do nothing: kept features are not augmented."""

    def write(self, start: int, maps: Sequence[Tensor]) -> None:
        """Store the maps `(B, C, h, w)` of consecutive images from index `start` on."""
        self._storage.write(start, [x.permute(0, 2, 3, 1).half() for x in maps])


@torch.inference_mode()
def cache_features(
    model: FastFlow, images: Images, batch_size: int, budget: int = HOST_BUDGET, place: Place | None = None
) -> FeatureCache:
    """Compute the features of `images` by the frozen part of `model`, once.

    A normalization that needs the statistics of all features is fitted in the same pass: the maps are kept without it
    first, and normalized in place at the end. DataError, naming the images, when features are not finite or too large
    for float16.
    """
    statistics = [ChannelStatistics() for _ in model.normalize] if _needs_fit(model) else []
    cache, start, backbone, device = None, 0, fold_batch_norm(model.backbone), model.device
    with ThreadChoice(device):
        for batch, _ in images.batches(batch_size, pin=device.type == "cuda"):
            batch = batch.to(device, non_blocking=True)
            if statistics:
                maps = [x.to(model.backbone.mean.dtype) for x in backbone(batch)]
                _check_finite(maps, images, start)  # before the mean over a batch, where one image would spoil all
                maps = [_centered(scale, x) for scale, x in zip(statistics, maps, strict=True)]
            else:
                maps = model.features(batch, backbone=backbone)
            maps = [x.half() for x in maps]
            _check_finite(maps, images, start)
            cache = cache or FeatureCache(len(images), [tuple(x.shape[1:]) for x in maps], budget, device, place)
            cache.write(start, maps)
            start += len(batch)
    if cache is None:
        raise DataError(f"there are no images to learn from below {images.root}")
    if statistics:
        _normalize(cache, model, statistics, batch_size)
    return cache


def _centered(scale: ChannelStatistics, maps: Tensor) -> Tensor:
    """Add `maps` to the statistics; return them minus the center."""
    scale.add(maps)
    return maps - scale.center


def _normalize(cache: FeatureCache, model: FastFlow, statistics: Sequence[ChannelStatistics], batch_size: int) -> None:
    """Fit the normalization of `model`; replace the centered maps in `cache` by the normalized ones."""
    for normalize, scale in zip(model.normalize, statistics, strict=True):
        normalize.fit(*scale.means())
    for indices in torch.arange(len(cache)).split(batch_size):
        maps = [x + scale.center for x, scale in zip(cache[indices.tolist()], statistics, strict=True)]
        cache.write(int(indices[0]), model.normalized(maps))


def _needs_fit(model: FastFlow) -> bool:
    return any(normalize.needs_fit() for normalize in model.normalize)


def fit_normalization(model: FastFlow, images: Images, batch_size: int) -> None:
    """Fit the normalization to the features of `images`, if it needs that, in a pass of its own."""
    if not _needs_fit(model):
        return
    statistics = [ChannelStatistics() for _ in model.normalize]
    for batch, _ in images.batches(batch_size, pin=model.device.type == "cuda"):
        for scale, maps in zip(statistics, model.backbone(batch.to(model.device, non_blocking=True)), strict=True):
            scale.add(maps)
    for normalize, scale in zip(model.normalize, statistics, strict=True):
        normalize.fit(*scale.means())


def _check_finite(maps: Sequence[Tensor], images: Images, start: int) -> None:
    """Raise DataError with the names of images whose features are not finite in float16."""
    finite = torch.stack([torch.isfinite(x).flatten(1).all(dim=1) for x in maps]).all(dim=0)
    bad = [index for index, is_finite in enumerate(finite.tolist()) if not is_finite]
    if bad:
        names = ", ".join(images.name_of(start + i) for i in bad[:3])
        raise DataError(
            f"features of {len(bad)} image(s) are not finite in float16 ({names}); check the backbone's "
            "weights and its layers, or normalize='layer'"
        )
