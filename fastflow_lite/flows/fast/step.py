"""One flow step on channels-last maps: forward, and its gradient written by hand.

With the channels in the order of the permutation, maps `(B, H, W, C)`, halves a and b:

    y = x * exp(log_scale) + shift            ActNorm and permutation in one pass
    hidden = relu(conv1(y_a) + condition)     the condition of a `ConditionalFlow`, up-sampled; 0 in other flows
    raw, t = conv2(hidden)
    s = clamp * tanh(raw / clamp)
    z_a = y_a,  z_b = y_b * exp(s) + t
    log_det = sum of s over channels + sum of log_scale

`g_v` is the gradient of the loss with respect to `v`. What lies between the convolutions is in `elementwise`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastflow_lite.flows.fast.condition import add_upsampled, upsampling_gradient
from fastflow_lite.flows.fast.convolutions import convolution_gradients, convolve
from fastflow_lite.flows.fast.elementwise import PLAIN, Elementwise, gather_channels, sum_per_channel
from fastflow_lite.flows.fast.layout import StepLayout, StepWeights


class Activations(NamedTuple):
    """The values of a forward pass that the gradient of a step needs."""

    y_a: Tensor
    hidden: Tensor
    s: Tensor
    scaled_b: Tensor  # y_b * exp(s)


def forward_step(
    x: Tensor,
    layout: StepLayout,
    weights: StepWeights,
    log_det: Tensor,
    ops: Elementwise = PLAIN,
    condition: Tensor | None = None,
) -> tuple[Tensor, Activations]:
    """Compute `z` from `x`, and add the step's log-determinant to `log_det` in place.

    The condition has the shape `(B, h, w, hidden)`, with `h` and `w` of the coarser scale.
    """
    scale, shift = weights.log_scale.exp()[layout.order], weights.shift[layout.order]
    y_a, y_b = (ops.normalize(x, layout.order[half], scale[half], shift[half]) for half in (layout.a, layout.b))
    hidden, out = _subnet(y_a, weights, condition)
    z, s = ops.couple(out, layout.clamp, y_a, y_b, log_det)
    log_det += weights.log_scale.sum()
    return z, Activations(y_a, hidden, s, y_b)


def backward_step(
    g_z: Tensor,
    g_log_det: Tensor,
    activations: Activations,
    layout: StepLayout,
    weights: StepWeights,
    ops: Elementwise = PLAIN,
    g_condition: Tensor | None = None,
) -> tuple[Tensor, StepWeights]:
    """Compute the gradients of `x` and of the weights from those of `z` and `log_det`.

    That of the condition is written into `g_condition` if one is given.
    """
    y_a, hidden, s, scaled_b = activations
    g_out, g_s_sums = ops.coupling_gradients(
        g_z[..., layout.b], g_log_det, s, scaled_b, layout.clamp, weights.weight2.dtype
    )
    g_hidden, g_weight2 = convolution_gradients(g_out, hidden, weights.weight2)
    # relu: the gradient is 0 where hidden is 0
    torch.ops.aten.threshold_backward.grad_input(g_hidden, hidden, 0, grad_input=g_hidden)
    if g_condition is not None:
        g_condition.copy_(upsampling_gradient(g_hidden, g_condition.shape[1:3]))
    g_conv1_input, g_weight1 = convolution_gradients(g_hidden, y_a.to(g_hidden.dtype), weights.weight1)
    scale = weights.log_scale.exp()[layout.order]
    g_y, g_shift, g_a_y_a = ops.input_gradients(g_conv1_input, g_z, y_a, s, scale)
    # g_log_scale = sum of g_y * (y - shift) + g_log_det. In half b, g_y_b * y_b = g_z_b * y_b * exp(s): with g_log_det
    # that is g_s.
    g_log_scale = torch.cat([g_a_y_a + g_log_det.sum(), g_s_sums]) - g_shift * weights.shift[layout.order]
    g_x = gather_channels(g_y, layout.inverse_order)
    return g_x, StepWeights(
        log_scale=g_log_scale[layout.inverse_order],
        shift=g_shift[layout.inverse_order],
        weight1=g_weight1,
        bias1=sum_per_channel(g_hidden),
        weight2=g_weight2,
        bias2=sum_per_channel(g_out),
    )


def _subnet(y_a: Tensor, weights: StepWeights, condition: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute the hidden layer, and raw and t as one map, from half a and the condition."""
    hidden = convolve(y_a.to(weights.weight1.dtype), weights.weight1, weights.bias1)
    if condition is not None:
        add_upsampled(hidden, condition)
    hidden.relu_()
    return hidden, convolve(hidden, weights.weight2, weights.bias2)
