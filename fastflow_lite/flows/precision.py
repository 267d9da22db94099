"""The number format of products: of convolutions and matrix products, which are nearly all of the arithmetic.

Elementwise work, log-determinants, sums and the loss stay float32 in either.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS = ("float32", "bf16")


def product_dtype(precision: str) -> torch.dtype | None:
    """Return the type that products are computed in, or None for that of their inputs."""
    return torch.bfloat16 if precision == "bf16" else None


def sum_dtype(x: torch.Tensor) -> torch.dtype:
    """Return the type that values like `x` are added up in: float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the type in which the caller's autocast computes products on `device`, or None without autocast."""
    kind = device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else None


def products_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which the modules of torch compute products on `device` in this precision.

    For "float32" it changes nothing, so that a caller's own autocast holds.
    """
    return products_as(torch.bfloat16, device) if precision == "bf16" else nullcontext()


def products_as(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which the modules of torch compute products on `device` in this type, or that of inputs."""
    if dtype is None and autocast_dtype(device) is None:
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype is not None)
