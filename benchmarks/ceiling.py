"""What this machine's convolutions and matrix products do at the shapes that a flow has, forwards and backwards.

`rates` measures; `fastest` is the one ceiling that all work is held against; `operators` is how long the flow would
take if its operators, at their own measured rates, were all there is to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness import mark, milliseconds
from torch import Tensor
from torch.nn import functional as F

PASSES = ("forward", "data", "weights")  # the result; the gradient of the input; the gradient of the weights
Rates = dict[str, float]  # GFLOP/s by operator, size and pass


def rates(shapes: list[list[int]], batch: int, device: str, dtype: str) -> Rates:
    """Of 3x3 convolutions and of matrix products from half the channels of maps `(C, H, W)` to as many."""
    found = {}
    for shape in shapes:
        half = shape[0] // 2
        x = torch.rand(batch, half, *shape[1:], device=device, dtype=getattr(torch, dtype))
        flop = 2 * x.numel() * half
        for of, work in zip(PASSES, _convolutions(x), strict=True):
            found[_name("convolution", shape, of)] = _rate(work, 9 * flop, device)
        for of, work in zip(PASSES, _products(x), strict=True):
            found[_name("matrix product", shape, of)] = _rate(work, flop, device)
    return found


def _name(operator: str, shape: list[int], of: str) -> str:
    channels, height, width = shape
    return f"{operator}, {channels // 2} channels, {height}x{width}, {of}"


def _convolutions(x: Tensor) -> tuple[Callable[[], Any], ...]:
    """In channels-last order, as the fast path has it."""
    x = x.to(memory_format=torch.channels_last)
    weight = torch.rand(x.shape[1], x.shape[1], 3, 3, device=x.device, dtype=x.dtype)
    one, backward = [1, 1], torch.ops.aten.convolution_backward
    gradient = partial(backward, x, x, weight, None, one, one, one, False, [0, 0], 1)
    return (
        partial(F.conv2d, x, weight, padding=1),
        partial(gradient, [True, False, False]),
        partial(gradient, [False, True, False]),
    )


def _products(x: Tensor) -> tuple[Callable[[], Any], ...]:
    rows = x.permute(0, 2, 3, 1).flatten(0, 2).contiguous()
    weight = torch.rand(rows.shape[1], rows.shape[1], device=x.device, dtype=x.dtype)
    multiply = partial(torch.matmul, rows, weight)
    return multiply, multiply, partial(torch.matmul, rows.t(), rows)


def _rate(work: Callable[[], Any], flop: int, device: str) -> float:
    with torch.inference_mode():
        work()
        times = []
        for _ in range(5):
            start = mark(torch.device(device))
            work()
            times.append(milliseconds(*start, *mark(torch.device(device)))[0])
    return flop / min(times) / 1e6


def fastest(found: Rates) -> float:
    """GFLOP/s of the fastest operator at any of the shapes."""
    return max(found.values())


def operators(found: Rates, shapes: list[list[int]], giga_flop: list[float], passes: tuple[str, ...]) -> float:
    """Milliseconds that flows of `giga_flop` forwards (one number for each shape) spend in their operators alone.

    With 3x3 and 1x1 kernels in turn, as here, nine tenths of the work are convolutions.
    """
    total = 0.0
    for shape, amount in zip(shapes, giga_flop, strict=True):
        for of in passes:
            total += 0.9 * amount / found[_name("convolution", shape, of)]
            total += 0.1 * amount / found[_name("matrix product", shape, of)]
    return 1000 * total
