"""timm's networks: which layers are built, which sizes they take, which names exist."""

import pytest
import torch
from torch import nn

from fastflow_lite.backbones import Backbone, timm_features


def test_transformer_stops_after_its_layer_and_ends_in_its_own_norm() -> None:
    with torch.device("meta"):
        getter = timm_features("deit_base_distilled_patch16_384", (7,))
    assert len(getter.model.blocks) == 8
    assert isinstance(getter.model.norm, nn.LayerNorm)
    assert getter.norm


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "cait_xxs24_224", "vit_tiny_patch16_224"])
def test_transformers_take_any_size(name: str) -> None:
    backbone = Backbone(name, weights="random")
    (square,), (wide,) = backbone(torch.rand(1, 3, 224, 224)), backbone(torch.rand(1, 3, 96, 160))
    assert square.shape[2:] == (14, 14)
    assert wide.shape[2:] == (6, 10)


def test_unknown_name_shows_near_ones() -> None:
    with pytest.raises(ValueError, match=r"no model 'resnet_18'"):
        Backbone("resnet_18")
    with pytest.raises(ValueError, match=r"near: .*wide_resnet50_2"):
        Backbone("wide_resnet50")


def test_a_transformer_with_one_image_size_gives_maps_of_that_size() -> None:
    backbone = Backbone("convit_tiny", weights=None)
    assert (backbone.strides, backbone.preset.image_size) == ([16], 224)
    assert backbone(torch.rand(1, 3, 224, 224))[0].shape[2:] == (14, 14)
