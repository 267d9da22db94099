"""Random weights: batch normalizations have the statistics of noise."""

import pytest
import torch
from tiny import defaults
from torch import nn

from fastflow_lite.backbones import Backbone
from fastflow_lite.backbones.random_weights import pink_noise, settle_batch_norm


def test_random_batch_norms_are_settled_on_noise() -> None:
    backbone = Backbone("resnet18", weights="random")
    torch.manual_seed(3)
    with torch.no_grad():
        first = backbone.network.bn1(backbone.network.conv1(pink_noise(8, 128)))
    # A channel that has seen its own kind of image has mean 0 and deviation 1 there; a fresh one has not.
    assert first.mean(dim=(0, 2, 3)).abs().median() < 0.1
    assert 0.8 < first.std(dim=(0, 2, 3)).median() < 1.2
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.momentum is not None and not torch.equal(norm.running_var, norm.weight) for norm in norms)


def test_pink_noise_has_a_power_that_falls_with_the_square_of_the_frequency() -> None:
    assert defaults(settle_batch_norm) == {"images": 32, "size": 128}, "other numbers make other random weights"
    noise = pink_noise(64, 32)
    torch.testing.assert_close(noise.mean(dim=(2, 3)), torch.zeros(64, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(noise.std(dim=(2, 3)), torch.ones(64, 3))
    power = torch.fft.fft2(noise).abs().square().mean(dim=(0, 1))
    for low, high in (((0, 1), (0, 2)), ((1, 0), (2, 0)), ((2, 2), (4, 4)), ((0, 4), (0, 12))):
        assert float(power[low] / power[high]) == pytest.approx((sum(high) / sum(low)) ** 2, rel=0.3)
