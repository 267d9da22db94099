"""What a flow step computes between its convolutions: permutation, coupling and sums, and their gradients.

Maps are channels last, `(B, H, W, C)`. The functions write into tensors that they are given. On a processor they are
called for a part of the images at a time, so that what one pass writes is still in the cache when the next reads it.
Through `torch.compile` each is one pass, and is called for all images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastflow_lite.flows.precision import sum_dtype
from fastflow_lite.machine import can_compile

PART_VALUES = 2**19  # values of a map in a part: few enough for the processor's cache


def normalize(x: Tensor, channels: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> None:
    """Write `x[..., channels] * scale + shift` into `out`."""
    torch.addcmul(shift, gather_channels(x, channels), scale, out=out)


def couple(out: Tensor, clamp: float, y_a: Tensor, y_b: Tensor, s: Tensor, z: Tensor, log_det: Tensor) -> None:
    """From `out`, which holds raw and t, write s and z, multiply `y_b` by exp(s), add the sum of s to `log_det`."""
    raw, t = out.split(s.shape[-1], dim=-1)
    s.copy_(clamped(raw.to(s.dtype), clamp))
    log_det += s.sum(dim=-1)
    y_b.mul_(s.exp())
    z[..., : y_a.shape[-1]] = y_a
    z[..., y_a.shape[-1] :] = y_b + t


def coupling_gradients(
    g_z_b: Tensor, g_log_det: Tensor, s: Tensor, scaled_b: Tensor, clamp: float, g_out: Tensor, g_s_sums: Tensor
) -> None:
    """Write the gradients of raw and t into `g_out`; add that of s, summed per channel, to `g_s_sums`."""
    g_raw, g_t = g_out.split(s.shape[-1], dim=-1)
    g_t.copy_(g_z_b)  # t is added to z_b
    # g_s = g_log_det + g_z_b * y_b * exp(s)
    g_s = torch.addcmul(g_log_det.unsqueeze(-1), g_z_b, scaled_b)
    g_s_sums += sum_per_channel(g_s)
    # ds / draw = 1 - tanh(raw / clamp)^2 = 1 - (s / clamp)^2
    g_raw.copy_(g_s.mul_(1 - (s / clamp).square_()))


def input_gradients(
    g_conv1_input: Tensor, g_z: Tensor, y_a: Tensor, s: Tensor, scale: Tensor, g_y: Tensor, sums: Tensor
) -> None:
    """Write the gradient of x, in the order of the permutation, into `g_y`; add to `sums` those that ActNorm needs.

    `sums` `(2, C)`: of the gradient g_y of y, and of g_y * y in half a.
    """
    a = y_a.shape[-1]
    # g_y_a = g_z_a + gradient through the sub-net,  g_y_b = g_z_b * exp(s)
    g_y_a = g_conv1_input + g_z[..., :a]
    g_y[..., :a] = g_y_a
    g_y[..., a:] = g_z[..., a:] * s.exp()
    sums[0] += sum_per_channel(g_y)
    sums[1, :a] += sum_per_channel(g_y_a.mul_(y_a))
    g_y.mul_(scale)


def clamped(raw: Tensor, clamp: float) -> Tensor:
    """Compute s = clamp * tanh(raw / clamp)."""
    # tanh(u) = 2 sigmoid(2 u) - 1, because torch's sigmoid is three times as fast as its tanh.
    gate = torch.mul(raw, 2 / clamp).sigmoid_()
    return gate.mul_(2 * clamp).sub_(clamp)


def gather_channels(x: Tensor, channels: Tensor, out: Tensor | None = None) -> Tensor:
    """Return `x[..., channels]`; `gather` was measured five times as fast as indexing."""
    return torch.gather(x, -1, channels.expand(*x.shape[:-1], -1), out=out)


def sum_per_channel(x: Tensor) -> Tensor:
    """Sum `(B, H, W, C)` to `(C,)`."""
    return x.flatten(0, 2).sum(dim=0, dtype=sum_dtype(x))


class Elementwise(NamedTuple):
    """The functions above that a step calls, and how many values of a map each call gets."""

    normalize: Callable[..., None]
    couple: Callable[..., None]
    coupling_gradients: Callable[..., None]
    input_gradients: Callable[..., None]
    part_values: int | None

    def parts(self, x: Tensor) -> Iterator[slice]:
        """Split the batch into parts of at most `part_values` values, or of one image."""
        count = len(x) if self.part_values is None else max(1, self.part_values // x[0].numel())
        return (slice(start, start + count) for start in range(0, len(x), count))


FUNCTIONS = (normalize, couple, coupling_gradients, input_gradients)
ON_PROCESSOR = Elementwise(*FUNCTIONS, PART_VALUES)
ON_GPU = Elementwise(*FUNCTIONS, None)


def elementwise(device: torch.device, compiled: bool) -> Elementwise:
    """Return the functions for maps on `device`, through `torch.compile` where that is asked for and works."""
    if compiled and can_compile(device.type):
        return _compiled()
    return ON_PROCESSOR if device.type == "cpu" else ON_GPU


@functools.cache
def _compiled() -> Elementwise:
    compiled: list[Any] = [torch.compile(function, dynamic=False) for function in FUNCTIONS]
    return Elementwise(*compiled, None)  # type: ignore[call-arg]  # a list of four
