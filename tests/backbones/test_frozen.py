"""Backbones: shapes, no training, and which sizes fit."""

import pytest
import torch
from torch import nn

from fastflow_lite import FastFlow
from fastflow_lite.backbones import Backbone
from fastflow_lite.backbones.frozen import TRIED_SIZES
from fastflow_lite.errors import ArgumentError


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    return Backbone("resnet18", weights="bundled")


def test_resnet18_maps(resnet: Backbone) -> None:
    assert resnet.channels == [64, 128, 256]
    assert resnet.strides == [4, 8, 16]
    maps = resnet(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6)]


def test_the_shapes_of_a_network_of_timm_are_learned_once(resnet: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its layers are part of what is remembered; a list of one backbone is not that of another."""
    resnet.channels.append(0)
    other = Backbone("resnet18", weights=None, layers=(2,))
    monkeypatch.setattr(Backbone, "_probe", lambda *_: pytest.fail("the network runs again"))
    again = Backbone("resnet18", weights=None)
    assert (again.channels, again.strides, again.preset) == ([64, 128, 256], resnet.strides, resnet.preset)
    assert (other.channels, other.strides) == ([128], [8])
    resnet.channels.pop()


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


class InTuple(TwoMaps):
    """A module that returns a tuple."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(super().forward(x))


def test_maps_may_come_in_a_tuple() -> None:
    backbone = Backbone(InTuple())
    assert isinstance(backbone(torch.rand(1, 3, 64, 64)), list) and len(backbone.channels) == 2


class Returns(nn.Module):
    """Returns the same value for any image, and never takes part in a test of its weights."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> object:
        return self.value


@pytest.mark.parametrize("value", [None, [], {}, torch.ones(1, 2, 8, 8), ["map"], [torch.ones(2, 8, 8)]])
def test_a_module_that_returns_no_maps_is_named(value: object) -> None:
    with pytest.raises(ArgumentError, match=r"Returns must return a list of maps \(B, C, H, W\)"):
        Backbone(Returns(value))


class OneSize(nn.Module):
    """Adds an embedding of each position, as a transformer does: it takes images of 64 x 64 only."""

    def __init__(self, height: int = 64, width: int = 64) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.ones(1, 4, height // 8, width // 8))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [nn.functional.avg_pool2d(x, 8)[:, :1] + self.positions]


def test_a_module_of_one_size_works_at_it_and_names_it_for_another() -> None:
    backbone = Backbone(OneSize())
    assert (backbone.preset.image_size, backbone.channels, backbone.strides) == (64, [4], [8])
    assert backbone(torch.rand(2, 3, 64, 64))[0].shape == (2, 4, 8, 8)
    with pytest.raises(ArgumentError, match=r"OneSize does not take images of the size \(128, 64\).*must match.*64"):
        backbone(torch.rand(2, 3, 128, 64))


def test_the_sizes_that_are_tried_with_an_own_module() -> None:
    assert TRIED_SIZES == (256, 224, 384, 448, 512, 128, 96, 64, 32)
    assert Backbone(OneSize(96, 96)).preset.image_size == 96


def test_a_module_of_a_size_that_nobody_tries_is_refused_with_its_reason() -> None:
    with pytest.raises(ArgumentError, match=r"OneSize does not take images .*256: The size of tensor"):
        Backbone(OneSize(40, 80))


class Unpadded(nn.Module):
    """AlexNet's first layers: 256 pixels become 62, 30 and 14, and no stride divides 256 into those."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 11, stride=4)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.conv(x)]
        for _ in range(2):
            maps.append(nn.functional.max_pool2d(maps[-1], 3, 2))
        return maps


def test_a_module_without_padding_takes_any_size() -> None:
    model = FastFlow(Unpadded(), steps=1, hidden=4)
    assert model.backbone.strides == [4, 8, 18]
    for height, width in ((256, 256), (100, 131)):
        outputs = model(torch.rand(1, 3, height, width))
        assert model.maps_and_scores(outputs, (height, width))[0].shape == (1, 1, height, width)
    with pytest.raises(ArgumentError, match=r"Unpadded does not take images of the size \(20, 20\)"):
        model(torch.rand(1, 3, 20, 20))


def test_a_map_finer_than_the_image_has_stride_one() -> None:
    backbone = Backbone(nn.Sequential(nn.Upsample(scale_factor=2), Listed()))
    assert backbone.strides == [1]
    assert backbone(torch.rand(1, 3, 5, 7))[0].shape == (1, 3, 10, 14)


class Listed(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x]


def test_an_error_at_the_size_that_works_is_the_modules_own(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = Backbone(OneSize())

    def fail(x: torch.Tensor) -> list[torch.Tensor]:
        raise RuntimeError("the card is gone")

    monkeypatch.setattr(backbone.network, "forward", fail)
    with pytest.raises(RuntimeError, match="the card is gone"):
        backbone(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize("given", [{"weights": "random"}, {"weights": "timm"}, {"layers": (1, 2)}])
def test_weights_and_layers_are_refused_for_an_own_module(given: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=r"TwoMaps is used as it is given, so leave weights=.* and layers=.* out"):
        FastFlow(TwoMaps(), **given)


@pytest.mark.parametrize("network", [42, None, TwoMaps])
def test_another_type_is_no_backbone(network: object) -> None:
    with pytest.raises(ArgumentError, match="backbone must be the name of a network or a module"):
        Backbone(network)
    with pytest.raises(
        ArgumentError, match="weights must be 'bundled', 'imagenet', 'timm', 'random', a file or None, got 3"
    ):
        Backbone("resnet18", weights=3)


def test_the_meta_device_is_refused() -> None:
    with torch.device("meta"):
        own = TwoMaps()
        for network in ("resnet18", own):
            with pytest.raises(ArgumentError, match=r"build it outside torch.device\('meta'\)"):
                FastFlow(network)
    with pytest.raises(ArgumentError, match="on no meta tensors"):
        FastFlow(own)


def test_the_mean_and_deviation_of_the_images_are_taken_out() -> None:
    """Of ImageNet for an own module, of timm's configuration for a named one."""
    images = torch.rand(2, 3, 6, 5)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(Backbone(Listed())(images)[0], (images - mean[:, None, None]) / std[:, None, None])
    inception = Backbone("inception_v3", None)  # timm publishes .5 for it
    assert inception.mean.flatten().tolist() == inception.std.flatten().tolist() == [0.5] * 3
