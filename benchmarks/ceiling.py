"""What this machine's convolutions and matrix products do at the shapes that a flow has, forwards and backwards.

`rates` measures; `fastest` is the one ceiling that all work is held against; `operators` is how long the flow would
take if its operators, at their own measured rates, were all there is to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from complexity import mark, milliseconds
from torch import Tensor
from torch.nn import functional as F

PASSES = ("forward", "data", "weights")  # the result; the gradient of the input; the gradient of the weights
Rates = dict[str, float]  # GFLOP/s by operator, size and pass


def rates(shapes: list[list[int]], batch: int, device: str, dtype: str) -> Rates:
    """Of 3x3 convolutions and of matrix products from half the channels of maps `(C, H, W)` to as many."""
    found = {}
    for channels, height, width in shapes:
        half = channels // 2
        x = torch.rand(batch, half, height, width, device=device, dtype=getattr(torch, dtype))
        size = f"{half} channels, {height}x{width}"
        for name, work in (_convolutions(x) | _products(x)).items():
            kernel = 3 if name.startswith("convolution") else 1
            operator, of = name.split(", ")
            found[f"{operator}, {size}, {of}"] = _rate(work, kernel**2 * 2 * x.numel() * half, device)
    return found


def _convolutions(x: Tensor) -> dict[str, Callable[[], Any]]:
    """In channels-last order, as the fast path has it."""
    x = x.to(memory_format=torch.channels_last)
    weight = torch.rand(x.shape[1], x.shape[1], 3, 3, device=x.device, dtype=x.dtype)
    one, backward = [1, 1], torch.ops.aten.convolution_backward
    gradient = partial(backward, x, x, weight, None, one, one, one, False, [0, 0], 1)
    work: tuple[Callable[[], Any], ...] = (
        partial(F.conv2d, x, weight, padding=1),
        partial(gradient, [True, False, False]),
        partial(gradient, [False, True, False]),
    )
    return {f"convolution, {of}": one_pass for of, one_pass in zip(PASSES, work, strict=True)}


def _products(x: Tensor) -> dict[str, Callable[[], Any]]:
    rows = x.permute(0, 2, 3, 1).flatten(0, 2).contiguous()
    weight = torch.rand(rows.shape[1], rows.shape[1], device=x.device, dtype=x.dtype)
    multiply = partial(torch.matmul, rows, weight)
    work = (multiply, multiply, partial(torch.matmul, rows.t(), rows))
    return {f"matrix product, {of}": one_pass for of, one_pass in zip(PASSES, work, strict=True)}


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
    for (channels, height, width), amount in zip(shapes, giga_flop, strict=True):
        size = f"{channels // 2} channels, {height}x{width}"
        for of in passes:
            total += 0.9 * amount / found[f"convolution, {size}, {of}"]
            total += 0.1 * amount / found[f"matrix product, {size}, {of}"]
    return 1000 * total
