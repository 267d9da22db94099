"""Mean and mean square of feature maps per channel, summed batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor


class ChannelStatistics:
    """Sums of one scale's maps per channel, over all images and positions.

    `center` is the mean of the first batch, `(C, 1, 1)`. Maps minus `center` are rounded to float16 with a small error
    also where the mean of a channel is far above its deviation.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums = self.center = torch.zeros(0)

    def add(self, maps: Tensor) -> None:
        """Add maps `(B, C, h, w)`."""
        by_channel = maps.cpu().double().transpose(0, 1).flatten(1)
        sums = torch.stack([by_channel.sum(dim=1), by_channel.square().sum(dim=1)])
        if not self.count:
            self.center = (sums[0] / by_channel.shape[1]).to(maps.dtype).to(maps.device).view(-1, 1, 1)
        self.sums = self.sums + sums if self.count else sums
        self.count += by_channel.shape[1]

    def means(self) -> tuple[Tensor, Tensor]:
        """Return the mean and the mean of squares of all maps, `(C,)` each."""
        mean, mean_of_squares = self.sums / self.count
        return mean, mean_of_squares
