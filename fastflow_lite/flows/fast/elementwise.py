"""What a flow step computes between its convolutions: permutation, coupling and sums, and their gradients.

Maps are channels last, `(B, H, W, C)`. Each function is few passes over memory, and one through `torch.compile`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastflow_lite.flows.precision import sum_dtype
from fastflow_lite.machine import can_compile


def normalize(x: Tensor, channels: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Compute `x[..., channels] * scale + shift`."""
    return torch.addcmul(shift, gather_channels(x, channels), scale)


def couple(out: Tensor, clamp: float, y_a: Tensor, y_b: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
    """Compute z and s from `out`, which holds raw and t. Multiplies `y_b` by exp(s); adds the sum of s to `log_det`."""
    raw, t = out.split(y_b.shape[-1], dim=-1)
    s = clamped(raw.to(y_b.dtype), clamp)
    log_det += s.sum(dim=-1)
    y_b.mul_(exp(s))
    z = y_b.new_empty(*y_b.shape[:-1], y_a.shape[-1] + y_b.shape[-1])
    z[..., : y_a.shape[-1]] = y_a
    _write(z[..., y_a.shape[-1] :], torch.add, y_b, t)
    return z, s


def coupling_gradients(
    g_z_b: Tensor, g_log_det: Tensor, s: Tensor, scaled_b: Tensor, clamp: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of raw and t as one map of this type, and that of s summed per channel."""
    g_out = s.new_empty(*s.shape[:-1], 2 * s.shape[-1], dtype=dtype)
    g_raw, g_t = g_out.split(s.shape[-1], dim=-1)
    g_t.copy_(g_z_b)  # t is added to z_b
    # g_s = g_log_det + g_z_b * y_b * exp(s)
    g_s = torch.addcmul(g_log_det.unsqueeze(-1), g_z_b, scaled_b)
    # ds / draw = 1 - tanh(raw / clamp)^2 = 1 - (s / clamp)^2
    slope = torch.addcmul(s.new_ones(()), s, s, value=-1 / clamp**2)
    _write(g_raw, torch.mul, g_s, slope)
    return g_out, sum_per_channel(g_s)


def input_gradients(
    g_conv1_input: Tensor, g_z: Tensor, y_a: Tensor, s: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradient of x in the order of the permutation, and two sums per channel that ActNorm needs.

    They are those of the gradient g_y of y, and of g_y * y in half a.
    """
    a = y_a.shape[-1]
    g_y = torch.empty_like(g_z)
    # g_y_a = g_z_a + gradient through the sub-net,  g_y_b = g_z_b * exp(s)
    _write(g_y[..., :a], torch.add, g_conv1_input, g_z[..., :a])
    _write(g_y[..., a:], torch.mul, g_z[..., a:], exp(s))
    g_shift, g_a_y_a = sum_per_channel(g_y), sum_per_channel(g_y[..., :a] * y_a)
    return g_y.mul_(scale), g_shift, g_a_y_a


def clamped(raw: Tensor, clamp: float) -> Tensor:
    """Compute s = clamp * tanh(raw / clamp)."""
    # tanh(u) = 2 sigmoid(2 u) - 1, because torch's sigmoid is three times as fast as its tanh.
    return torch.mul(raw, 2 / clamp).sigmoid_().mul_(2 * clamp).sub_(clamp)


def exp(x: Tensor) -> Tensor:
    """Compute the exponential as a power of two: on a processor torch's exp2 is three times as fast as its exp."""
    return torch.mul(x, 1 / math.log(2)).exp2_()


def gather_channels(x: Tensor, channels: Tensor) -> Tensor:
    """Return `x[..., channels]`; `gather` was measured five times as fast as indexing."""
    return x.gather(-1, channels.expand(*x.shape[:-1], -1))


def sum_per_channel(x: Tensor) -> Tensor:
    """Sum `(B, H, W, C)` to `(C,)`."""
    return x.flatten(0, 2).sum(dim=0, dtype=sum_dtype(x))


def _write(place: Tensor, function: Callable[..., Tensor], *arguments: Tensor) -> None:
    """Write the result of `function` into `place`, a part of a map."""
    if torch.compiler.is_compiling():  # it has no `out=` for a part of a tensor, and needs none
        place.copy_(function(*arguments))
    else:
        function(*arguments, out=place)


class Elementwise(NamedTuple):
    """The functions above that a step calls."""

    normalize: Callable[..., Tensor] = normalize
    couple: Callable[..., tuple[Tensor, Tensor]] = couple
    coupling_gradients: Callable[..., tuple[Tensor, Tensor]] = coupling_gradients
    input_gradients: Callable[..., tuple[Tensor, Tensor, Tensor]] = input_gradients


PLAIN = Elementwise()


def elementwise(device: torch.device, compiled: bool) -> Elementwise:
    """Return the functions for maps on `device`, through `torch.compile` where that is asked for and works."""
    return _compiled() if compiled and can_compile(device.type) else PLAIN


@functools.cache
def _compiled() -> Elementwise:
    functions: Any = [torch.compile(function, dynamic=False) for function in PLAIN]
    return Elementwise(*functions)
