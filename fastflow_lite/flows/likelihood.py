"""The negative log-likelihood per dimension: its size does not depend on the number of dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from fastflow_lite.flows.transforms import Transform

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)  # the constant term of the Gaussian's negative log-density


def nats_per_dim(outputs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Compute the negative log-likelihood of a batch in nats per dimension, a scalar.

    `outputs` holds `(z, log_det)` of each scale: `(B, C, H, W)` and `(B, H, W)`. The scales are treated as
    independent parts of one vector: their nats are added and divided by the number of all dimensions.
    Source: equation 2 of FastFlow with a standard normal base.

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
    """Compute the log-density `(N,)` in nats of vectors `(N, C)` under the flow and its standard normal base."""
    z, log_det = flow(x)
    return log_det - 0.5 * z.square().sum(dim=1) - z.shape[1] * HALF_LOG_TWO_PI


def bits(nats: float) -> float:
    """Convert nats to bits.

    >>> round(bits(0.6931471805599453), 6)
    1.0
    """
    return nats / math.log(2)
