"""Which place is odd? Good pictures of a product say, as one Gaussian, what is normal; flaws must lie far from it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GOOD, SPOILT = 11, 5  # pictures of a product in a batch
GROUP = GOOD + SPOILT
SHRINK = 0.05  # share of the mean variance that is added to all, so that few places still make a covariance
SHARPNESS = 4.0  # of the comparison of log distances
COVERED = 0.25  # share of a place that is spoilt, from which on it is odd; what has less, but some, is left out


def log_distance(normal: Tensor, asked: Tensor) -> Tensor:
    """Logarithm of the squared Mahalanobis distance a dimension of `asked` (..., C) from places `normal` (N, C)."""
    mean, width = normal.mean(0), normal.shape[1]
    centered = normal - mean
    covariance = centered.T @ centered / len(normal)
    ridge = SHRINK * covariance.diagonal().mean() + 1e-6
    factor = torch.linalg.cholesky(covariance + ridge * torch.eye(width, device=normal.device))
    flat = (asked - mean).reshape(-1, width)
    white = torch.linalg.solve_triangular(factor, flat.T, upper=False)
    return (white.square().mean(0) + 1e-6).log().reshape(asked.shape[:-1])


def find_odd(scores: Tensor, covered: Tensor) -> Tensor:
    """Cross-entropy in nats of each odd place among the normal places of the same product.

    `scores` and `covered` (SPOILT, h, w); the hardest normal places weigh most. Zero when nothing is spoilt.
    """
    odd, normal = scores[covered >= COVERED], scores[covered == 0]
    if not len(odd):
        return scores.sum() * 0
    rivals = torch.logsumexp(SHARPNESS * normal, 0)
    return F.softplus(rivals - SHARPNESS * odd).mean()


def oddity(layers: list[Tensor], flaw: Tensor) -> Tensor:
    """Mean of `find_odd` over products, layers and the mean of the layers.

    `layers` (P * GROUP, C, h, w), the good pictures of each product first; `flaw` (..., n, n) of the same.
    """
    losses, size = [], side_lengths(layers[1])
    normed = [F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]) for x in layers]
    for start in range(0, len(flaw), GROUP):
        middle, stop = start + GOOD, start + GROUP
        whole = flaw[middle:stop, None].float()
        maps = [log_distance(x[start:middle].flatten(0, 2), x[middle:stop]) for x in normed]
        maps.append(torch.stack([_resize(m, size) for m in maps]).mean(0))
        losses += [find_odd(m, F.adaptive_avg_pool2d(whole, side_lengths(m))[:, 0]) for m in maps]
    return torch.stack(losses).mean()


def side_lengths(maps: Tensor) -> tuple[int, int]:
    """Height and width of maps (..., h, w)."""
    return maps.shape[-2], maps.shape[-1]


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, h, w) averaged, or between places bilinear, to `size`."""
    mode = "area" if maps.shape[-1] > size[1] else "bilinear"
    return F.interpolate(maps[:, None], size, mode=mode)[:, 0]
