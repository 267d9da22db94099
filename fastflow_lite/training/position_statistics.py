"""Mean and variance of the training features at each position, as far as the position explains the features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.flows.positions import StandardizePositions
from fastflow_lite.model import FastFlow
from fastflow_lite.training.feature_cache import Features

FOLDS = 4


@torch.inference_mode()
def fit_positions(model: FastFlow, features: Features, batch_size: int, count: int) -> None:
    """Fit the `StandardizePositions` of every scale of `model`, if it has them, to the first `count` features."""
    transforms = [module for module in model.modules() if isinstance(module, StandardizePositions)]
    if not transforms:
        return
    sums: list[PositionSums] = []
    for batch in torch.arange(count).split(batch_size):
        maps = features[batch.tolist()]
        sums = sums or [PositionSums(x) for x in maps]
        for scale, x in zip(sums, maps, strict=True):
            scale.add(batch, x)
    for transform, scale in zip(transforms, sums, strict=True):
        transform.fit(*scale.mean_and_variance())


class PositionSums:
    """Sums over images of one scale's features and of their squares at each position, by fold."""

    def __init__(self, like: Tensor) -> None:
        self.counts = torch.zeros(FOLDS, dtype=torch.float64, device=like.device)
        self.sums = torch.zeros(FOLDS, *like.shape[1:], device=like.device)
        self.squares = torch.zeros_like(self.sums)

    def add(self, indices: Tensor, x: Tensor) -> None:
        """Add features `(B, C, h, w)` of the images `indices`, whose number decides the fold."""
        for index, image in zip(indices.tolist(), x, strict=True):
            self.counts[index % FOLDS] += 1
            self.sums[index % FOLDS] += image
            self.squares[index % FOLDS] += image.square()

    def share(self) -> Tensor:
        """Return how much of the features' variance the position explains, between 0 and 1.

        Each fold is predicted by the mean at each position over the other folds: 1 minus the squared error over that of
        one mean per channel. 0 where the prediction is no better, as for an object that lies anyhow.
        """
        overall = (self.sums.sum(dim=0).mean(dim=(1, 2)) / self.counts.sum()).float()[:, None, None]
        errors = torch.zeros(2, dtype=torch.float64, device=self.sums.device)
        for fold, count in enumerate(self.counts):
            others = self.counts.sum() - count
            if count and others:
                mean = smooth((self.sums.sum(dim=0) - self.sums[fold]) / others.float())
                errors += torch.stack([self._error(fold, mean), self._error(fold, overall)])
        return (1 - errors[0] / errors[1]).clamp(0, 1).nan_to_num(0.0).float()

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return maps `(C, h, w)`: mean and variance at each position, both drawn to those of all positions.

        By `share`: with 0 they are those of each channel over all positions.
        """
        share, count = self.share(), self.counts.sum().float()
        by_position = smooth(self.sums.sum(dim=0) / count)
        mean = share * by_position + (1 - share) * by_position.mean(dim=(1, 2), keepdim=True)
        squares, sums = self.squares.sum(dim=0) / count, self.sums.sum(dim=0) / count
        variance = smooth(squares - 2 * mean * sums + mean.square()).clamp_min(0)
        return mean, share * variance + (1 - share) * variance.mean(dim=(1, 2), keepdim=True)

    def _error(self, fold: int, mean: Tensor) -> Tensor:
        """Return the sum of squared differences between the features of one fold and `mean`."""
        terms = self.squares[fold] - 2 * mean * self.sums[fold] + self.counts[fold].float() * mean.square()
        return terms.double().sum()


def smooth(maps: Tensor) -> Tensor:
    """Average maps `(C, h, w)` over 3 x 3 positions; at the border over those inside."""
    return F.avg_pool2d(maps[None], 3, stride=1, padding=1, count_include_pad=False)[0]
