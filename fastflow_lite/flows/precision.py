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


def products_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which the modules of torch compute products on `device` in this precision.

    For "float32" it changes nothing, so that a caller's own autocast holds.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
