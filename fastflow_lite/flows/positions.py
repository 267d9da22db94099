"""Standardization of features by their mean and deviation at each position, with its exact log-determinant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.errors import check_number, check_whole
from fastflow_lite.flows.transforms import Transform

GRID = 32  # cells a side; the statistics are smooth, so this is enough for maps of any size
SHRINKAGE = 0.3  # of the mean variance, added to the variance of each cell


class StandardizePositions(Transform):
    """A fixed scale and shift per channel and position: `z = (x - mean) / std`, log_det minus the sum of `log(std)`.

    A flow of convolutions computes the same function at every position, so a part that is normal at one place is normal
    everywhere. After this transform a feature is compared with those of the training images at its own position. It
    has no trainable parameters. Until `fit` it is the identity.

    The statistics are kept on a grid of `GRID` x `GRID` cells and resampled, so maps `(B, C, H, W)` may have any size.

    >>> t = StandardizePositions(2)
    >>> t.fit(torch.full((2, 4, 4), 3.0), torch.ones(2, 4, 4))
    >>> z, log_det = t(torch.full((1, 2, 8, 8), 5.0))
    >>> round(z.max().item(), 2), log_det.shape
    (1.75, torch.Size([1, 8, 8]))
    """

    mean: Tensor
    log_std: Tensor
    started: Tensor  # whether `fit` has set the statistics; the name is that of `ActNorm`

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_whole("channels", channels, 1)
        self.register_buffer("mean", torch.zeros(channels, GRID, GRID))
        self.register_buffer("log_std", torch.zeros(channels, GRID, GRID))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract the mean of each position, then divide by its deviation."""
        mean, log_std = self.at(x.shape[-2:])
        return (x - mean) * (-log_std).exp(), -log_std.sum(dim=1).expand(x.shape[0], -1, -1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply by the deviation of each position, then add its mean."""
        mean, log_std = self.at(z.shape[-2:])
        return z * log_std.exp() + mean, log_std.sum(dim=1).expand(z.shape[0], -1, -1)

    def at(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return mean and log(std) `(1, C, *size)` for maps of `size`, channels last in memory."""
        both = resample(torch.stack([self.mean, self.log_std]), size)
        mean, log_std = both.contiguous(memory_format=torch.channels_last).split(1)
        return mean, log_std

    @torch.no_grad()
    def fit(self, mean: Tensor, variance: Tensor, shrinkage: float = SHRINKAGE) -> None:
        """Set the statistics from maps `(C, h, w)` of mean and variance over training images.

        `shrinkage` times the mean variance over positions is added to each, so that a position at which the training
        images are nearly equal is not divided by nearly zero.
        """
        check_number("shrinkage", shrinkage, above=0)
        shrunk = variance + shrinkage * variance.mean(dim=(1, 2), keepdim=True)
        std = shrunk.clamp_min(1e-6).sqrt()
        self.mean.copy_(resample(mean[None], self.mean.shape[-2:])[0])
        self.log_std.copy_(resample(std.log()[None], self.mean.shape[-2:])[0])
        self.started.fill_(True)

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f"{len(self.mean)}"


def resample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bring maps `(B, C, H, W)` to `size`: by the mean over areas where that is smaller, else bilinearly."""
    height, width = size
    if maps.shape[-2:] == (height, width):
        return maps
    if height <= maps.shape[-2] and width <= maps.shape[-1]:
        return F.adaptive_avg_pool2d(maps, (height, width))
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
