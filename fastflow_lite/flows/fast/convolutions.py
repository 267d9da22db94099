"""1x1 and 3x3 convolutions of channels-last maps `(B, H, W, C)` and their gradients, by the fastest method.

1x1: a matrix product. 3x3: Winograd's method for many input channels in float32, else torch's convolution. A weight
has the shape `(C_out, C_in, k, k)`; transformed for Winograd by `precompute_weight` it is `(36, C_out, C_in)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from fastflow_lite.flows.fast import winograd

WINOGRAD_MIN_CHANNELS = 64  # from this number of input channels on, Winograd's method was measured to be faster


def convolve(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> list[Tensor]:
    """Convolve `x` with each weight and add its bias, with zero padding that keeps the size."""
    if _is_1x1(weights[0]):
        return [linear(x, weight.flatten(1), bias) for weight, bias in zip(weights, biases, strict=True)]
    if uses_winograd(weights[0]):
        results = winograd.convolve(x, [precompute_weight(weight) for weight in weights])
        return [result.add_(bias) for result, bias in zip(results, biases, strict=True)]
    x = x.permute(0, 3, 1, 2)
    return [to_channels_last(conv2d(x, weight, bias, padding=1)) for weight, bias in zip(weights, biases, strict=True)]


def convolution_gradients(
    gs: Sequence[Tensor], x: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute the gradients of `x` and of each weight from the gradients `gs` of what `convolve` returned."""
    if _is_1x1(weights[0]):
        return _gradients_1x1(gs, x, weights)
    if uses_winograd(weights[0]):
        g_x, g_transformed = winograd.gradients(gs, x, [precompute_weight(weight) for weight in weights])
        return g_x, tuple(winograd.weight_gradient(g) for g in g_transformed)
    g = torch.cat(list(gs), dim=-1) if len(gs) > 1 else gs[0]
    weight = torch.cat(list(weights)) if len(weights) > 1 else weights[0]
    g_x, g_weight, _ = torch.ops.aten.convolution_backward(
        g.permute(0, 3, 1, 2),
        x.permute(0, 3, 1, 2),
        weight,
        bias_sizes=None,
        stride=[1, 1],
        padding=[1, 1],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[True, True, False],
    )
    return to_channels_last(g_x), g_weight.chunk(len(gs))


def uses_winograd(weight: Tensor) -> bool:
    """Return whether a convolution with this weight is computed by Winograd's method."""
    if weight.dim() == 3:
        return True
    return not _is_1x1(weight) and weight.shape[1] >= WINOGRAD_MIN_CHANNELS and weight.dtype == torch.float32


def precompute_weight(weight: Tensor) -> Tensor:
    """Transform the weight for Winograd's method if it is used and the weight is not yet transformed."""
    return winograd.transform_weight(weight) if weight.dim() == 4 and uses_winograd(weight) else weight


def split_outputs(weight: Tensor) -> tuple[Tensor, ...]:
    """Split a weight into the first and the second half of its output channels."""
    return weight.chunk(2, dim=1 if weight.dim() == 3 else 0)


def to_channels_last(x: Tensor) -> Tensor:
    """Copy `(B, C, H, W)` to `(B, H, W, C)`; no copy if it has this order in memory already."""
    return x.permute(0, 2, 3, 1).contiguous()


def _is_1x1(weight: Tensor) -> bool:
    return weight.dim() == 4 and weight.shape[-1] == 1


def _gradients_1x1(gs: Sequence[Tensor], x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    g_x = gs[0].flatten(0, 2) @ weights[0].flatten(1)
    for g, weight in zip(gs[1:], weights[1:], strict=True):
        g_x.addmm_(g.flatten(0, 2), weight.flatten(1))
    # One product for each image, each on one thread, is faster than one product over the positions of all images.
    g_weights = [torch.bmm(g.flatten(1, 2).transpose(1, 2), x.flatten(1, 2)).sum(dim=0) for g in gs]
    return g_x.view_as(x), tuple(g.view_as(weight) for g, weight in zip(g_weights, weights, strict=True))
