"""Convolutions of channels-last maps against torch's, by each of the three methods."""

import pytest
import torch
from torch.nn.functional import conv2d

from fastflow_lite.flows.fast import convolutions


@pytest.mark.parametrize("precomputed", [False, True])
@pytest.mark.parametrize(("kernel", "channels", "by_winograd"), [(1, 64, False), (3, 63, False), (3, 64, True)])
def test_values_and_gradients(kernel: int, channels: int, by_winograd: bool, precomputed: bool) -> None:
    x = torch.randn(2, 6, 9, channels, requires_grad=True)
    weights = [(torch.randn(c, channels, kernel, kernel) / (kernel * 8)).requires_grad_() for c in (4, 4)]
    biases = [torch.randn(4), torch.randn(4)]
    assert convolutions.uses_winograd(weights[0]) == by_winograd
    used = [convolutions.precompute_weight(w.detach()) if precomputed else w.detach() for w in weights]
    pairs = zip(weights, biases, strict=True)
    ys = [conv2d(x.permute(0, 3, 1, 2), w, b, padding=kernel // 2).permute(0, 2, 3, 1) for w, b in pairs]
    for found, y in zip(convolutions.convolve(x.detach(), used, biases), ys, strict=True):
        torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)
    if not precomputed:
        gs = [torch.randn(y.shape) for y in ys]
        torch.autograd.backward(ys, gs)
        g_x, g_weights = convolutions.convolution_gradients(gs, x.detach(), used)
        for found, wanted in zip([g_x, *g_weights], [x.grad, *(w.grad for w in weights)], strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [5, 64])
def test_split_outputs_commutes_with_precomputing(channels: int) -> None:
    weight = torch.randn(6, channels, 3, 3)
    for half, whole in zip(
        weight.chunk(2), convolutions.split_outputs(convolutions.precompute_weight(weight)), strict=True
    ):
        torch.testing.assert_close(convolutions.precompute_weight(half), whole)
