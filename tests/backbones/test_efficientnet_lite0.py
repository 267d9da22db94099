"""The EfficientNet-Lite0 that needs no timm is timm's: names, shapes, and maps to rounding."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fastflow_lite import FastFlow
from fastflow_lite.backbones import Backbone, timm_features
from fastflow_lite.backbones.batch_norm_folding import fold_batch_norm
from fastflow_lite.backbones.efficientnet_lite0 import LAYERS, NAME, EfficientNetLite0
from fastflow_lite.backbones.weights import TO_FILL

pytestmark = pytest.mark.usefixtures("few_noise_images")


@pytest.mark.parametrize("size", [(64, 96), (71, 45), (70, 53)])
def test_maps_are_those_of_timm(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    theirs, ours = timm_features(NAME, LAYERS).eval(), EfficientNetLite0().eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.05, 0.2)
    assert [(name, t.shape) for name, t in ours.state_dict().items()] == [
        (name, t.shape) for name, t in theirs.state_dict().items()
    ]
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, *size)
    for a, b in zip(ours(images), theirs(images), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_mean_and_deviation_are_those_of_timm() -> None:
    ours, theirs = Backbone(NAME, TO_FILL), Backbone(NAME, "random")
    assert isinstance(ours.network, EfficientNetLite0) and not isinstance(theirs.network, EfficientNetLite0)
    assert torch.equal(ours.mean, theirs.mean) and torch.equal(ours.std, theirs.std)
    assert ours.mean.unique().tolist() == ours.std.unique().tolist() == [0.5]
    assert (ours.channels, ours.strides) == ([24, 40, 112], [4, 8, 16])


def test_a_saved_model_with_the_network_of_timm_is_loaded_without_it(tmp_path: Path) -> None:
    model = FastFlow(NAME, "random", steps=1, hidden=4)
    model.save(tmp_path / "m.safetensors")
    loaded = FastFlow.load(tmp_path / "m.safetensors")
    assert isinstance(loaded.backbone.network, EfficientNetLite0)
    image = torch.rand(1, 3, 64, 96)
    for a, b in zip(loaded.backbone(image), model.backbone(image), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_every_normalization_is_folded() -> None:
    backbone = Backbone(NAME, "random")
    network = EfficientNetLite0().eval()
    network.load_state_dict(backbone.network.state_dict())
    backbone = backbone.with_network(network)
    folded = fold_batch_norm(backbone)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image = torch.rand(1, 3, 64, 96)
    for a, b in zip(folded(image), backbone(image), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
