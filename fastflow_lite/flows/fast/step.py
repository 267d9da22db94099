"""One flow step on channels-last maps: forward, inverse, and its gradient written by hand.

With the channels in the order of the permutation, maps `(B, H, W, C)`, halves a and b:

    y = x * exp(log_scale) + shift            ActNorm and permutation in one pass
    hidden = relu(conv1(y_a))
    raw, t = conv2(hidden)
    s = clamp * tanh(raw / clamp)
    z_a = y_a,  z_b = y_b * exp(s) + t
    log_det = sum of s over channels + sum of log_scale

`g_v` is the gradient of the loss with respect to `v`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastflow_lite.flows.fast.convolutions import convolution_gradients, convolve, split_outputs
from fastflow_lite.flows.fast.layout import StepLayout, StepWeights


class Activations(NamedTuple):
    """The values of a forward pass that the gradient of a step needs."""

    y_a: Tensor
    hidden: Tensor
    s: Tensor
    scaled_b: Tensor  # y_b * exp(s)


def forward_step(x: Tensor, layout: StepLayout, weights: StepWeights, log_det: Tensor) -> tuple[Tensor, Activations]:
    """Compute `z` from `x`, and add the step's log-determinant to `log_det` in place."""
    scale, shift = weights.log_scale.exp()[layout.order], weights.shift[layout.order]
    y_a, y_b = (
        torch.addcmul(shift[half], _gather_channels(x, layout.order[half]), scale[half])
        for half in (layout.a, layout.b)
    )
    hidden, s, t = _subnet(y_a, layout.clamp, weights)
    log_det += s.sum(dim=-1)
    log_det += weights.log_scale.sum()
    scaled_b = y_b.mul_(s.exp())
    z = torch.empty_like(x)
    z[..., layout.a] = y_a
    torch.add(scaled_b, t, out=z[..., layout.b])  # into z directly: torch.cat would be one more pass over memory
    return z, Activations(y_a, hidden, s, scaled_b)


def invert_step(z: Tensor, layout: StepLayout, weights: StepWeights) -> tuple[Tensor, Activations]:
    """Compute `x` from `z`, and the activations of the forward pass that gave `z`."""
    y_a = z[..., layout.a].contiguous()
    hidden, s, t = _subnet(y_a, layout.clamp, weights)
    scaled_b = z[..., layout.b] - t
    y = torch.cat([y_a, scaled_b * (-s).exp()], dim=-1)
    inverse_scale, shift = (-weights.log_scale).exp()[layout.order], weights.shift[layout.order]
    x = _gather_channels((y - shift) * inverse_scale, layout.inverse_order)
    return x, Activations(y_a, hidden, s, scaled_b)


def backward_step(
    g_z: Tensor, g_log_det: Tensor, activations: Activations, layout: StepLayout, weights: StepWeights
) -> tuple[Tensor, StepWeights]:
    """Compute the gradients of `x` and of the weights from those of `z` and `log_det`."""
    y_a, hidden, s, scaled_b = activations
    g_z_a, g_t = g_z[..., layout.a], g_z[..., layout.b].contiguous()  # t is added to z_b: g_t = g_z_b
    # g_s = g_log_det + g_z_b * y_b * exp(s)
    g_s = torch.addcmul(g_log_det.unsqueeze(-1), g_t, scaled_b)
    g_s_sums = _sum_per_channel(g_s)
    # ds / draw = 1 - tanh(raw / clamp)^2 = 1 - (s / clamp)^2
    g_raw = g_s.mul_(torch.addcmul(torch.ones((), dtype=s.dtype), s, s, value=-1 / layout.clamp**2))
    g_hidden, g_weight2 = convolution_gradients([g_raw, g_t], hidden, split_outputs(weights.weight2))
    # relu: the gradient is 0 where hidden is 0
    torch.ops.aten.threshold_backward.grad_input(g_hidden, hidden, 0, grad_input=g_hidden)
    g_conv1_input, g_weight1 = convolution_gradients([g_hidden], y_a, [weights.weight1])
    # g_y_a = g_z_a + gradient through the sub-net,  g_y_b = g_z_b * exp(s)
    g_y = torch.empty_like(g_z)
    torch.add(g_conv1_input, g_z_a, out=g_y[..., layout.a])
    torch.mul(g_t, s.exp(), out=g_y[..., layout.b])
    # g_shift = sum of g_y
    g_shift = _sum_per_channel(g_y)
    # g_log_scale = sum of g_y * (y - shift) + g_log_det. In half b, g_y_b * y_b = g_z_b * y_b * exp(s): with g_log_det
    # that is g_s.
    g_y_y_sums = torch.cat([_sum_per_channel(g_y[..., layout.a] * y_a) + g_log_det.sum(), g_s_sums])
    g_log_scale = g_y_y_sums - g_shift * weights.shift[layout.order]
    # g_x = g_y * exp(log_scale)
    g_x = _gather_channels(g_y.mul_(weights.log_scale.exp()[layout.order]), layout.inverse_order)
    return g_x, StepWeights(
        log_scale=g_log_scale[layout.inverse_order],
        shift=g_shift[layout.inverse_order],
        weight1=g_weight1[0],
        bias1=_sum_per_channel(g_hidden),
        weight2=torch.cat(g_weight2),
        bias2=torch.cat([_sum_per_channel(g_raw), _sum_per_channel(g_t)]),
    )


def _subnet(y_a: Tensor, clamp: float, weights: StepWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the hidden layer, the clamped log-scale `s` and the shift `t` from half a."""
    (hidden,) = convolve(y_a, [weights.weight1], [weights.bias1])
    raw, t = convolve(hidden.relu_(), split_outputs(weights.weight2), weights.bias2.chunk(2))
    # tanh(u) = 2 sigmoid(2 u) - 1, because torch's sigmoid is three times as fast as its tanh.
    low, width = raw.new_tensor(-clamp), raw.new_tensor(2 * clamp)
    s = torch.addcmul(low, raw.mul_(2 / clamp).sigmoid_(), width, out=raw)
    return hidden, s, t


def _gather_channels(x: Tensor, channels: Tensor) -> Tensor:
    """Return `x[..., channels]`; `gather` was measured five times as fast as indexing."""
    return x.gather(-1, channels.expand(*x.shape[:-1], -1))


def _sum_per_channel(x: Tensor) -> Tensor:
    """Sum `(B, H, W, C)` to `(C,)`."""
    return x.flatten(0, 2).sum(dim=0)
