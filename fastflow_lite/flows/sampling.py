"""Samples of a flow, and the values between its transforms."""

from __future__ import annotations

import torch
from torch import Tensor

from fastflow_lite.flows.transforms import Sequential, Transform


@torch.no_grad()
def sample(flow: Transform, count: int, channels: int = 2, seed: int = 0) -> Tensor:
    """Draw `count` vectors `(count, C)` from the flow: the inverse of standard normal noise."""
    z = torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))
    return flow.inverse(z)[0]


@torch.no_grad()
def stages(flow: Sequential, x: Tensor) -> list[Tensor]:
    """Return the vectors `(N, C)` before the first and after every transform of `flow`."""
    found = [x]
    for transform in flow.transforms:
        found.append(transform(found[-1])[0])
    return found
