"""Vectors drawn from a flow, and vectors on their way through it."""

from __future__ import annotations

import torch
from torch import Tensor

from fastflow_lite.flows.transforms import Sequential, Transform


@torch.no_grad()
def sample(flow: Transform, count: int, channels: int = 2, seed: int = 0) -> Tensor:
    """`count` vectors `(count, C)` drawn from the flow: noise sent through the inverse."""
    z = torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))
    return flow.inverse(z)[0]


@torch.no_grad()
def stages(flow: Sequential, x: Tensor) -> list[Tensor]:
    """Vectors `(N, C)` before the first and after every transform of `flow`."""
    found = [x]
    for transform in flow.transforms:
        found.append(transform(found[-1])[0])
    return found
