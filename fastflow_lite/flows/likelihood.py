"""The negative log-likelihood, per dimension, so that it means the same for every size and depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from fastflow_lite.flows.transforms import Transform

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)  # the Gaussian's constant: no gradient, but part of the number


def nats_per_dim(outputs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Negative log-likelihood of a batch in nats per dimension, a scalar.

    `outputs` holds `(z, log_det)` of each scale: `(B, C, H, W)` and `(B, H, W)`. The scales count as one
    long vector whose parts are independent: their nats add up and are divided by the number of all
    dimensions. Source: equation 2 of FastFlow with a standard normal base.

    >>> import torch
    >>> z, log_det = torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2)
    >>> round(float(nats_per_dim([(z, log_det)])), 4)
    0.9189
    """
    nats = cast(Tensor, sum(0.5 * z.square().sum() - log_det.sum() for z, log_det in outputs))
    dimensions = sum(z.numel() for z, _ in outputs)
    return nats / dimensions + HALF_LOG_TWO_PI


@torch.no_grad()
def log_density(flow: Transform, x: Tensor) -> Tensor:
    """Log-density `(N,)` in nats of vectors `(N, C)` under the flow and its standard normal base."""
    z, log_det = flow(x)
    return log_det - z.square().sum(dim=1) / 2 - z.shape[1] * math.log(2 * math.pi) / 2


def bits(nats: float) -> float:
    """Nats as bits: how many binary digits one dimension costs.

    >>> round(bits(0.6931471805599453), 6)
    1.0
    """
    return nats / math.log(2)
