"""Backbones: shapes, no training, and which sizes fit."""

import pytest
import torch
from torch import nn

from fastflow_lite.backbones import Backbone


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    return Backbone("resnet18", weights="bundled")


def test_resnet18_maps(resnet: Backbone) -> None:
    assert resnet.channels == [64, 128, 256]
    assert resnet.strides == [4, 8, 16]
    maps = resnet(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6)]


def test_frozen_in_eval_without_gradients(resnet: Backbone) -> None:
    resnet.train()
    assert not any(module.training for module in resnet.modules())
    assert not any(p.requires_grad for p in resnet.parameters())
    before = {name: t.clone() for name, t in resnet.state_dict().items()}
    assert not resnet(torch.rand(2, 3, 64, 64))[0].requires_grad
    assert all(torch.equal(t, before[name]) for name, t in resnet.state_dict().items())


def test_sizes_off_the_stride_say_the_nearest(resnet: Backbone) -> None:
    with pytest.raises(ValueError, match=r"\(100, 128\).*stride 16.*\(96, 128\) and \(112, 128\)"):
        resnet(torch.rand(1, 3, 100, 128))


class TwoMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        fine = self.conv(x)
        return [fine, nn.functional.avg_pool2d(fine, 2)]


def test_any_module_that_returns_maps() -> None:
    backbone = Backbone(TwoMaps())
    assert (backbone.channels, backbone.strides) == ([6, 6], [4, 8])
    assert backbone.weights_info.source == "module"
    with pytest.raises(ValueError, match="Conv2d must return a list of maps"):
        Backbone(nn.Conv2d(3, 4, 1))
