"""How far two results of one formula may lie apart, by the number format: one table for all laws of flows.

float64 tests the formulas. float32 has 7 digits, and a flow of three steps adds up the errors of some hundred
operations; it is for devices that are fast in float32 alone, or have no float64 (MPS). The largest errors of the
transforms in `flows/registry.py` on a processor, each with five inputs, in float64 and float32: 1e-13 and 4e-5 for
the inverse, 1e-14 and 4e-6 for the log-determinant.
"""

import torch
from torch import Tensor

# law: (float64, float32), the largest absolute difference
TOLERANCES = {
    "inverse": (1e-10, 1e-4),  # inverse(forward(x)) and x
    "log_det": (1e-8, 2e-5),  # the log-determinant and autograd's
    "standard": (1e-12, 1e-6),  # the mean of values that ActNorm has standardized
    "same": (1e-9, 2e-4),  # values and gradients of one formula, computed in two ways
}


def tolerance(law: str, dtype: torch.dtype) -> float:
    """Return the largest difference that `law` allows in `dtype`."""
    return TOLERANCES[law][0 if dtype == torch.float64 else 1]


def assert_same(found: Tensor, wanted: Tensor) -> None:
    """Assert that two ways to compute one formula agree as far as their number format goes."""
    allowed = tolerance("same", wanted.dtype)
    torch.testing.assert_close(found, wanted, rtol=allowed, atol=allowed)
