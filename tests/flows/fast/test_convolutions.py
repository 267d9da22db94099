"""Convolutions of channels-last maps against torch's, by each of the three methods."""

import pytest
import torch
from torch.nn.functional import conv2d

from fastflow_lite.flows.fast import convolutions


@pytest.mark.cpu_only  # Winograd's method
@pytest.mark.parametrize("precomputed", [False, True])
@pytest.mark.parametrize(("kernel", "channels", "by_winograd"), [(1, 64, False), (3, 63, False), (3, 64, True)])
def test_values_and_gradients(
    kernel: int, channels: int, by_winograd: bool, precomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "WINOGRAD_MIN_CHANNELS", 64)
    x = torch.randn(2, 6, 9, channels, requires_grad=True)
    weight, bias = (torch.randn(8, channels, kernel, kernel) / (kernel * 8)).requires_grad_(), torch.randn(8)
    assert convolutions.uses_winograd(weight) == by_winograd
    used = convolutions.precompute_weight(weight.detach()) if precomputed else weight.detach()
    y = conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=kernel // 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(convolutions.convolve(x.detach(), used, bias), y, rtol=1e-4, atol=1e-4)
    if not precomputed:
        g = torch.randn(y.shape)
        y.backward(g)
        found = convolutions.convolution_gradients(g, x.detach(), used)
        for one, wanted in zip(found, [x.grad, weight.grad], strict=True):
            torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-4)


def test_winograd_is_for_float32_and_many_channels() -> None:
    few, many = (torch.zeros(4, convolutions.WINOGRAD_MIN_CHANNELS - less, 3, 3) for less in (1, 0))
    used = [convolutions.uses_winograd(weight) for weight in (few, many, many.double(), many.bfloat16())]
    assert used == [False, True, False, False]
