"""Number formats of products."""

import pytest
import torch
from torch.nn.functional import linear

from fastflow_lite.flows.precision import product_dtype, products_in, sum_dtype


@pytest.mark.parametrize(("precision", "expected"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_computed_in_the_precision(precision: str, expected: torch.dtype, device: torch.device) -> None:
    x = torch.ones(2, 3, device=device)
    with products_in(precision, device):
        assert linear(x, x).dtype == expected
    assert (product_dtype(precision) or x.dtype) == expected


def test_sums_are_float32_at_least() -> None:
    assert [sum_dtype(torch.zeros(1, dtype=d)) for d in (torch.bfloat16, torch.float32, torch.float64)] == [
        torch.float32,
        torch.float32,
        torch.float64,
    ]


def test_float32_leaves_the_autocast_of_the_caller_alone(device: torch.device) -> None:
    x = torch.ones(2, 3, device=device)
    with torch.autocast(device.type, torch.bfloat16), products_in("float32", device):
        assert linear(x, x).dtype == torch.bfloat16
