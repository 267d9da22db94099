"""Random weights: batch normalizations have the statistics of noise."""

import torch
from torch import nn

from fastflow_lite.backbones import Backbone
from fastflow_lite.backbones.random_weights import pink_noise


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
