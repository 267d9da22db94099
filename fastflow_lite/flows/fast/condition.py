"""What the couplings of a `ConditionalFlow` add before their ReLU, on channels-last maps `(B, H, W, C)`.

One matrix product at the coarser size computes the conditions of all steps. Each step up-samples its own when it needs
it: up-sampled maps of all steps together would take more memory and, out of the processor's cache, more time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, linear

from fastflow_lite.flows.fast.convolutions import to_channels_last


def coarse_conditions(coarser: Tensor, weight: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return the conditions of all steps `(B, h, w, steps * hidden)`: the 1x1 convolution of `coarser` `(B, C, h, w)`.

    The product is computed as `dtype`, or in the type of its inputs.
    """
    x = to_channels_last(coarser)
    return linear(x.to(dtype or x.dtype), weight.flatten(1).to(dtype or weight.dtype))


def add_upsampled(hidden: Tensor, condition: Tensor) -> None:
    """Add the condition of one step `(B, h, w, hidden)`, up-sampled bilinearly, to `hidden` `(B, H, W, hidden)`."""
    hidden.add_(upsampled(condition, hidden.shape[1:3]))


def upsampled(condition: Tensor, size: Sequence[int]) -> Tensor:
    """Up-sample `(B, h, w, hidden)` bilinearly to `(B, *size, hidden)`."""
    maps = interpolate(condition.permute(0, 3, 1, 2), tuple(size), mode="bilinear", align_corners=False)
    return maps.permute(0, 2, 3, 1)


def upsampling_gradient(g: Tensor, size: Sequence[int]) -> Tensor:
    """Compute the gradient `(B, *size, hidden)` of a condition from that of the up-sampled one, `(B, H, W, hidden)`."""
    maps = g.permute(0, 3, 1, 2)
    shape = [*maps.shape[:2], *size]
    g_maps = torch.ops.aten.upsample_bilinear2d_backward(maps, maps.shape[-2:], shape, align_corners=False)
    return g_maps.permute(0, 2, 3, 1)
