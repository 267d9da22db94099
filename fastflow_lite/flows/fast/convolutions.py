"""1x1 and 3x3 convolutions of channels-last maps `(B, H, W, C)` and their gradients, by the fastest method.

1x1: a matrix product. 3x3: Winograd's method for many input channels in float32, else torch's convolution. A weight
has the shape `(C_out, C_in, k, k)`; transformed for Winograd by `precompute_weight` it is `(36, C_out, C_in)`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from fastflow_lite.flows.fast import winograd
from fastflow_lite.flows.precision import sum_dtype

# From how many input channels on Winograd's method was measured to be faster, by the processor's widest vectors. Not
# measured at the start of a process: near a tie, two runs of one seed would then differ in rounding.
WINOGRAD_MIN_CHANNELS = 128 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 64


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve `x` and add the bias, with zero padding that keeps the size."""
    if _is_1x1(weight):
        return linear(x, weight.flatten(1), bias)
    if uses_winograd(weight):
        return winograd.convolve(x, precompute_weight(weight), bias)
    return to_channels_last(conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1))


def convolution_gradients(g: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of `x` and of the weight from the gradient `g` of what `convolve` returned."""
    if _is_1x1(weight):
        return _gradients_1x1(g, x, weight)
    if uses_winograd(weight):
        g_x, g_transformed = winograd.gradients(g, x, precompute_weight(weight))
        return g_x, winograd.weight_gradient(g_transformed)
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
    return to_channels_last(g_x), g_weight


def uses_winograd(weight: Tensor) -> bool:
    """Return whether a convolution with this weight is computed by Winograd's method."""
    if weight.dim() == 3:
        return True
    large = weight.shape[1] >= WINOGRAD_MIN_CHANNELS
    return large and not _is_1x1(weight) and weight.dtype == torch.float32 and weight.device.type == "cpu"


def precompute_weight(weight: Tensor) -> Tensor:
    """Transform the weight for Winograd's method if it is used and the weight is not yet transformed."""
    return winograd.transform_weight(weight) if weight.dim() == 4 and uses_winograd(weight) else weight


def to_channels_last(x: Tensor) -> Tensor:
    """Copy `(B, C, H, W)` to `(B, H, W, C)`; no copy if it has this order in memory already."""
    return x.permute(0, 2, 3, 1).contiguous()


def _is_1x1(weight: Tensor) -> bool:
    return weight.dim() == 4 and weight.shape[-1] == 1


def _gradients_1x1(g: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    g_x = (g.flatten(0, 2) @ weight.flatten(1)).view_as(x)
    if g.device.type != "cpu":
        return g_x, (g.flatten(0, 2).t() @ x.flatten(0, 2)).view_as(weight)
    # One product for each image, each on one thread, is faster than one product over the positions of all images.
    g_weights = torch.bmm(g.flatten(1, 2).transpose(1, 2), x.flatten(1, 2))
    return g_x, g_weights.sum(dim=0, dtype=sum_dtype(g)).view_as(weight)
