"""Random initialization of a network that is never trained: batch normalizations get statistics of noise images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NOISE_BATCH = 8


@torch.no_grad()
def settle_batch_norm(network: nn.Module, images: int = 32, size: int = 128) -> None:
    """Set the statistics of all batch normalizations to those of 1/f noise, from the current random state.

    New ones have mean 0 and variance 1, which is wrong in every layer of a random network: the deeper layers would
    hardly react to any input. The noise has the spectrum of photographs (Field, 1987), and is no photograph.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average over all batches
        norm.train()
    for _ in range(0, images if norms else 0, NOISE_BATCH):
        network(pink_noise(NOISE_BATCH, size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def pink_noise(count: int, size: int) -> Tensor:
    """Return images `(count, 3, size, size)` of 1/f noise with mean 0 and deviation 1 per channel."""
    frequencies = torch.fft.fftfreq(size)
    radius = torch.hypot(frequencies[:, None], frequencies[None, :]).clamp_min(1 / size)
    images = torch.fft.ifft2(torch.fft.fft2(torch.randn(count, 3, size, size)) / radius).real
    images = images - images.mean(dim=(2, 3), keepdim=True)
    return images / images.std(dim=(2, 3), keepdim=True)
