"""Winograd's convolution against torch's: values, gradients, rounding."""

import pytest
import torch
from torch.nn.functional import conv2d

from fastflow_lite.flows.fast import winograd


@pytest.mark.parametrize("size", [(8, 8), (6, 9), (1, 3)])
def test_it_equals_a_direct_convolution(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "CHUNK_VALUES", 1000)  # several chunks
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *size, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(4, 5, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, generator=generator)
    y = conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1).permute(0, 2, 3, 1)
    g = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    y.backward(g)
    with torch.no_grad():
        transformed = winograd.transform_weight(weight)
        torch.testing.assert_close(winograd.convolve(x, transformed, bias), y)
        g_x, g_weight = winograd.gradients(g, x, transformed)
    torch.testing.assert_close(g_x, x.grad)
    torch.testing.assert_close(winograd.weight_gradient(g_weight), weight.grad)


def test_it_rounds_little() -> None:
    """As the docstring of the module says: a few times the error of a direct convolution in float32."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(1, 32, 32, 64, generator=generator), torch.randn(64, 64, 3, 3, generator=generator) / 24
    exact = conv2d(x.double().permute(0, 3, 1, 2), w.double(), padding=1).permute(0, 2, 3, 1)
    mine = winograd.convolve(x, winograd.transform_weight(w), torch.zeros(64))
    assert (mine - exact).abs().max() < 1e-4
    assert (mine - exact).square().mean().sqrt() < 1e-5
