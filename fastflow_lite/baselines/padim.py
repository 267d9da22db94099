"""PaDiM: the distance of each position's features from their mean there, in the metric of their covariance there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.baselines.baseline import Baseline, Collector, Outputs
from fastflow_lite.baselines.config import PaDiMConfig
from fastflow_lite.errors import ArgumentError
from fastflow_lite.files import TensorForms

REGULARIZATION = 0.01  # added to each variance (paper, equation 1)
PAPER_CHANNELS = {"wide_resnet50_2": 550}  # paper, section IV-B; 100 for ResNet-18, and here for all others
OTHER_CHANNELS = 100


class PaDiM(Baseline):
    """PaDiM (arXiv 2011.08785) over the feature maps of a frozen backbone.

    Fit: the maps are brought to the size of the finest and concatenated; of their channels some are drawn at random.
    Mean and covariance of these are computed at each position.

    Score: the Mahalanobis distance at each position. The score of an image is the largest value of its smoothed map.
    Images must have the size of the training images, and show the object at the same place.

    Args:
        backbone: As `FastFlow`'s: a name, an own module, or a `Backbone`.
        weights: As `FastFlow`'s.
        config: The configuration; default `PaDiMConfig()`.
        **options: Fields of `PaDiMConfig` that replace those of `config`, such as `channels=50`.

    >>> model = PaDiM("resnet18", weights="bundled", channels=10)
    >>> history = model.fit(torch.rand(4, 3, 64, 64), progress=False)
    >>> model.mean.shape
    torch.Size([16, 16, 10])
    >>> maps, scores = model.predict(torch.rand(2, 3, 64, 64))
    >>> maps.shape, scores.shape
    (torch.Size([2, 1, 64, 64]), torch.Size([2]))
    """

    config: PaDiMConfig
    chosen: Tensor  # (c,): indices of the channels that are used
    mean: Tensor  # (h, w, c)
    whitening: Tensor  # (h, w, c, c): the inverse of the covariance's Cholesky factor
    config_type = PaDiMConfig
    interpolation = "bilinear"

    def __init__(
        self,
        backbone: str | nn.Module | None = None,
        weights: str | Path | None = "bundled",
        config: PaDiMConfig | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, weights, config, **options)
        total = sum(self.backbone.channels)
        count = self.config.channels or min(PAPER_CHANNELS.get(self.config.backbone, OTHER_CHANNELS), total)
        if count > total:
            raise ArgumentError(f"channels must be at most the {total} of {self.backbone.name}'s maps, got {count}")
        self.config = replace(self.config, channels=count)
        chosen = torch.randperm(total, generator=torch.Generator().manual_seed(self.config.seed), device="cpu")[:count]
        self.register_buffer("chosen", chosen.to(self.device))
        self.register_buffer("mean", torch.empty(0, 0, count, device=self.device))
        self.register_buffer("whitening", torch.empty(0, 0, count, count, device=self.device))

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """Concatenate the maps at the size of the finest, and take the chosen channels."""
        size = maps[0].shape[-2:]
        return torch.cat([maps[0], *(F.interpolate(x, size) for x in maps[1:])], dim=1)[:, self.chosen]

    def distances(self, embeddings: Tensor) -> Outputs:
        """Compute the Mahalanobis distances `(B, h, w)`. ArgumentError for images of another size."""
        grid, found = tuple(self.mean.shape[:2]), tuple(embeddings.shape[-2:])
        if grid != found:
            raise ArgumentError(f"PaDiM takes images of the size that it was fitted to: maps are {found}, not {grid}")
        differences = embeddings.permute(2, 3, 1, 0) - self.mean.unsqueeze(-1)  # (h, w, c, B)
        return [torch.linalg.vector_norm(self.whitening @ differences, dim=2).permute(2, 0, 1)]

    def check_trained(self) -> None:
        """Raise NotTrainedError unless the model has been fitted."""
        self.check_fitted(self.mean)

    def collector(self, images: int, shape: Sequence[int]) -> GaussianCollector:
        """Return what computes means and covariances."""
        if images < 2:
            raise ArgumentError("a covariance needs two training images or more, got 1")
        return GaussianCollector(self, shape)

    def make_room(self, forms: TensorForms) -> None:
        """Make mean and whitening of the positions that a file names, without memory."""
        shape = forms.get("mean", ("", []))[1]
        if len(shape) != 3 or min(shape) < 1:
            raise ArgumentError("it holds no means of positions")
        self.mean = torch.empty(*shape[:2], len(self.chosen), device="meta")
        self.whitening = torch.empty(*shape[:2], len(self.chosen), len(self.chosen), device="meta")

    def check_values(self) -> None:
        """Raise ArgumentError if an index of a channel is out of range."""
        if not 0 <= int(self.chosen.min()) <= int(self.chosen.max()) < sum(self.backbone.channels):
            raise ArgumentError("it takes channels that the backbone does not have")


class GaussianCollector(Collector):
    """Mean and covariance of the embeddings at each position, without keeping the embeddings.

    Batches are joined by the formulas of Chan, Golub and LeVeque (1983), which do not cancel.
    """

    def __init__(self, model: PaDiM, shape: Sequence[int]) -> None:
        channels, self.height, self.width = shape
        self.model, self.count = model, 0
        positions = self.height * self.width
        self.mean = torch.zeros(positions, channels, device=model.device)
        self.scatter = torch.zeros(positions, channels, channels, device=model.device)

    def add(self, start: int, embeddings: Tensor) -> None:
        """Join a batch to mean and scatter matrix."""
        points, new = embeddings.permute(2, 3, 0, 1).flatten(0, 1), len(embeddings)  # (positions, B, c)
        center = points.mean(dim=1)
        shift, total = center - self.mean, self.count + new
        points = points - center.unsqueeze(1)
        self.scatter.baddbmm_(points.mT, points)
        self.scatter.baddbmm_(shift.unsqueeze(2), shift.unsqueeze(1), alpha=self.count * new / total)
        self.mean.add_(shift, alpha=new / total)
        self.count = total

    def finish(self, progress: bool) -> None:
        """Compute the whitening of each position, by its covariance and `REGULARIZATION`."""
        covariance = self.scatter.div_(self.count - 1)
        covariance.diagonal(dim1=1, dim2=2).add_(REGULARIZATION)
        identity = torch.eye(covariance.shape[1], device=covariance.device).expand_as(covariance)
        whitening = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), identity, upper=False)
        grid = (self.height, self.width)
        with torch.inference_mode(False):
            self.model.mean, self.model.whitening = (x.unflatten(0, grid).clone() for x in (self.mean, whitening))
