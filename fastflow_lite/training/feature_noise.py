"""Gaussian noise on the features of training batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SEEDS = 2**62


class FeatureNoise:
    """Noise of standard deviation `deviation` on normalized features; 0 adds none.

    The density of few images is then smoother: each is the center of a small Gaussian. SoftFlow (arXiv 2006.04604)
    adds such noise too, and conditions its flow on the deviation; here that is one fixed number. Each image of a batch
    has a seed of its own, drawn for all images by every process. So a process draws the noise of its own images only,
    and the noise is the same for any number of processes.
    """

    def __init__(self, deviation: float, device: torch.device) -> None:
        self.deviation = deviation
        self.seeds, self.generator = torch.Generator(), torch.Generator(device)

    def start_epoch(self, seed: int) -> None:
        """Draw the noise from `seed` from here on, so that a resumed run repeats it."""
        self.seeds.manual_seed(seed)

    def add(self, maps: Sequence[Tensor], count: int, part: slice) -> None:
        """Add noise in place to the maps `(B, C, h, w)` of the images `part` of a batch of `count`."""
        if not self.deviation:
            return
        seeds = torch.randint(SEEDS, (count,), generator=self.seeds).tolist()
        for index, seed in enumerate(seeds[part] if maps else []):
            self.generator.manual_seed(seed)
            for x in maps:
                noise = torch.randn(x.shape[1:], generator=self.generator, device=x.device)
                x[index].add_(noise, alpha=self.deviation)
