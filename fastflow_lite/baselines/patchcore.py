"""PatchCore: the distance of each position's features from the nearest ones of normal images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.baselines.baseline import Baseline, Collector, Outputs
from fastflow_lite.baselines.config import PatchCoreConfig
from fastflow_lite.baselines.coreset import greedy_coreset, random_projection
from fastflow_lite.devices.feature_storage import choose_place, free_memory, make_storage
from fastflow_lite.errors import ArgumentError
from fastflow_lite.files import TensorForms
from fastflow_lite.progress import Count

MOST_DISTANCES = 2**24  # in memory at once: 64 MiB


class PatchCore(Baseline):
    """PatchCore (arXiv 2106.08265) over the last two feature maps of a frozen backbone.

    Fit: the maps are averaged over 3x3 positions, brought to the size of the finer one and concatenated. A greedy
    coreset of all training positions is the memory bank, float16.

    Score: the distance of each position from the nearest entry of the bank. The score of an image is the largest of
    them, times a weight that is small where the entries around that nearest one are as near (equation 7).

    Args:
        backbone: As `FastFlow`'s: a name, an own module, or a `Backbone`.
        weights: As `FastFlow`'s.
        config: The configuration; default `PatchCoreConfig()`.
        **options: Fields of `PatchCoreConfig` that replace those of `config`, such as `share=0.01`.

    >>> model = PatchCore("resnet18", weights="bundled", share=0.25)
    >>> history = model.fit(torch.rand(4, 3, 64, 64), progress=False)
    >>> model.bank.shape  # a quarter of 4 x 8 x 8 positions, 128 + 256 channels
    torch.Size([64, 384])
    >>> maps, scores = model.predict(torch.rand(2, 3, 64, 64))
    >>> maps.shape, scores.shape
    (torch.Size([2, 1, 64, 64]), torch.Size([2]))
    """

    config: PatchCoreConfig
    bank: Tensor  # (entries, channels)
    config_type = PatchCoreConfig
    interpolation = "nearest"

    def __init__(
        self,
        backbone: str | nn.Module | None = None,
        weights: str | Path | None = "bundled",
        config: PatchCoreConfig | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, weights, config, **options)
        self.channels = sum(self.backbone.channels[-self.config.levels :])
        self.register_buffer("bank", torch.empty(0, self.channels, dtype=torch.float16, device=self.device))

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """Concatenate the last maps, each averaged over 3x3 positions, at the size of the finest used."""
        used = [F.avg_pool2d(x, 3, 1, 1) for x in maps[-self.config.levels :]]
        size = used[0].shape[-2:]
        return torch.cat([used[0], *(F.interpolate(x, size, mode="bilinear") for x in used[1:])], dim=1)

    def distances(self, embeddings: Tensor) -> Outputs:
        """Compute the distances `(B, h, w)` from the nearest entries, and the weights `(B,)` of the image scores."""
        points, bank = embeddings.permute(0, 2, 3, 1).flatten(1, 2), self.bank.to(embeddings.dtype)
        found = nearest_distances(points.flatten(0, 1), bank).view(len(points), -1)
        farthest = points[torch.arange(len(points), device=points.device), found.argmax(dim=1)]
        return [found.view(len(points), *embeddings.shape[-2:]), self._weights(farthest, bank)]

    def check_trained(self) -> None:
        """Raise NotTrainedError unless the model has been fitted."""
        self.check_fitted(self.bank)

    def collector(self, images: int, shape: Sequence[int]) -> BankCollector:
        """Return what chooses the memory bank."""
        return BankCollector(self, images, shape)

    def make_room(self, forms: TensorForms) -> None:
        """Make a bank of the shape that a file names, without memory."""
        shape = forms.get("bank", ("", []))[1]
        if len(shape) != 2 or shape[0] < 1:
            raise ArgumentError("it holds no memory bank")
        self.bank = torch.empty(shape[0], self.channels, dtype=torch.float16, device="meta")

    def _weights(self, farthest: Tensor, bank: Tensor) -> Tensor:
        """Compute the factor of equation 7 from the farthest position `(B, C)` of each image.

        It is 1 - softmax of the distances from that position to the entries around its nearest one, of the nearest one.
        """
        if self.config.neighbors == 1:
            return torch.ones_like(farthest[:, 0])
        nearest = bank[torch.cdist(farthest, bank).argmin(dim=1)]
        count = min(self.config.neighbors, len(bank))
        around = torch.cdist(nearest, bank).topk(count, largest=False).indices  # the nearest itself comes first
        spans = torch.linalg.vector_norm(farthest.unsqueeze(1) - bank[around], dim=2)
        return 1 - spans.softmax(dim=1)[:, 0]


def nearest_distances(points: Tensor, bank: Tensor) -> Tensor:
    """Return the Euclidean distance of each of `points` `(N, C)` from the nearest row of `bank`.

    The rows are compared by squared length minus twice the product, in parts that keep memory bounded: half the time of
    `torch.cdist`.
    """
    lengths, rows = bank.square().sum(dim=1), bank.T
    parts = []
    for part in points.split(max(1, MOST_DISTANCES // len(bank))):
        least = torch.addmm(lengths, part, rows, alpha=-2).amin(dim=1)
        parts.append(least.add_(part.square().sum(dim=1)).clamp_(min=0).sqrt_())
    return torch.cat(parts)


class BankCollector(Collector):
    """Keeps all embeddings as float16 where there is room, and their projections; then chooses the bank."""

    def __init__(self, model: PatchCore, images: int, shape: Sequence[int]) -> None:
        channels, height, width = shape
        self.model, positions = model, height * width
        self.count = max(1, int(model.config.share * images * positions))
        self.projection = random_projection(channels, model.config.seed).to(model.device)
        self.projected = torch.empty(images, positions, self.projection.shape[1], device=model.device)
        place = choose_place(2 * images * positions * channels, free_memory(model.device), model.device.type)
        self.storage = make_storage(place, [(images, positions, channels)], model.device)

    def add(self, start: int, embeddings: Tensor) -> None:
        """Store embeddings and project them."""
        points = embeddings.permute(0, 2, 3, 1).flatten(1, 2)
        self.storage.write(start, [points.half()])
        self.projected[start : start + len(points)] = points @ self.projection

    def finish(self, progress: bool) -> None:
        """Choose the bank."""
        with Count(self.count, unit="entries", show=progress) as count:
            chosen = greedy_coreset(self.projected.flatten(0, 1), self.count, self.model.config.seed, count.step)
        stored = self.storage.maps[0].flatten(0, 1)
        bank = stored[chosen.to(stored.device)].to(self.model.device)
        with torch.inference_mode(False):
            self.model.bank = bank.clone()  # no inference tensor, so that it can be moved and loaded
