"""What the card itself can do, measured: its matrix rate in each number format and its memory bandwidth; and timing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from harness import mark, milliseconds, spread

from fastflow_lite.machine import synchronize

FORMATS = ("float32", "TF32", "bf16")  # float32: without TF32
BYTES = {"float32": 4, "bf16": 2}


@contextmanager
def tf32(enabled: bool) -> Iterator[None]:
    """Allow or forbid TF32 in matrix products and convolutions of float32."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = enabled
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


def tf32_setting() -> dict[str, bool]:
    """Whether products and convolutions of float32 may use TF32 now."""
    return {
        "matrix products": torch.backends.cuda.matmul.allow_tf32,
        "convolutions": torch.backends.cudnn.allow_tf32,
    }


def timed(work: Callable[[], object], device: torch.device, repeats: int, warmup: int = 3) -> dict[str, float]:
    """Milliseconds of `work`: median, smallest and largest, after `warmup` other calls, which also compile."""
    for _ in range(warmup):
        work()
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = mark(device)
        work()
        if device.type != "cuda":  # `mark` takes CUDA's own moments, and the wall's on every other device
            synchronize(device)
        times.append(milliseconds(*start, *mark(device))[0])
    return spread(times)


def rates(device: torch.device, tiny: bool) -> dict[str, float]:
    """FLOP/s of a large matrix product in each of `FORMATS`, and bytes/s of a large copy (read and written)."""
    side, mib = (256, 4) if tiny else (8192, 2048)
    found = {}
    for name in FORMATS:
        dtype = torch.bfloat16 if name == "bf16" else torch.float32
        a = torch.randn(side, side, device=device, dtype=dtype)
        with tf32(name == "TF32"):
            found[name] = 2e3 * side**3 / timed(lambda x=a: x @ x, device, 10)["low"]  # type: ignore[misc]
    source = torch.zeros(mib * 1024**2 // 4, device=device)
    target = torch.empty_like(source)
    found["bytes"] = 2e3 * 4 * source.numel() / timed(lambda: target.copy_(source), device, 10)["low"]
    return found


def rate_name(precision: str) -> str:
    """Which of `FORMATS` the products of a flow in `precision` use: convolutions are most of its work."""
    if precision == "bf16":
        return "bf16"
    return "TF32" if torch.backends.cudnn.allow_tf32 and torch.cuda.is_available() else "float32"


def peak_mib(device: torch.device) -> float | None:
    """MiB of the largest memory that tensors had since `forget_peak`; None where torch does not count it."""
    return torch.cuda.max_memory_allocated(device) / 1024**2 if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Give unused memory back and start counting the peak anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def flow_bytes(shapes: list[tuple[int, ...]], hidden: list[int], steps: int, precision: str, training: bool) -> int:
    """Bytes that the flows of one image must move at least, if each convolution is a kernel and the rest is one more.

    A step forwards: the first convolution reads half the channels and writes the hidden map; the second reads that
    and writes the scales and shifts; one pass reads those and the whole map, and writes the next. Products in bf16 read
    and write two bytes a value, the pass four for the map. Training moves three times as much: the gradients of inputs
    and weights each repeat the forward pass's traffic. Weights and fused kernels are left out, so it is a model, no
    bound that no program can pass.
    """
    size, total = BYTES[precision], 0
    for (channels, height, width), middle in zip(shapes, hidden, strict=True):
        products = channels // 2 + 2 * middle + channels
        passes = channels * size + 2 * channels * 4
        total += steps * height * width * (products * size + passes)
    return total * (3 if training else 1)
