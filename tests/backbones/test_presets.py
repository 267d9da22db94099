"""Presets: the paper's layers and sizes, and the rules for other networks."""

import pytest
import torch

from fastflow_lite.backbones import PRESETS, Backbone, Preset, timm_features


@pytest.mark.parametrize(("name", "preset"), PRESETS.items(), ids=PRESETS)
def test_presets_give_the_maps_of_the_paper(name: str, preset: Preset) -> None:
    """On the meta device: shapes without the gigabyte of CaiT's weights."""
    with torch.device("meta"):
        maps = timm_features(name, preset.layers).eval()(torch.rand(1, 3, preset.image_size, preset.image_size))
    expected = {
        "resnet18": [(64, 64), (128, 32), (256, 16)],
        "wide_resnet50_2": [(256, 64), (512, 32), (1024, 16)],
        "deit_base_distilled_patch16_384": [(768, 24)],
        "cait_m48_448": [(768, 28)],
    }
    assert [tuple(m.shape[1:]) for m in maps] == [(c, s, s) for c, s in expected[name]]


def test_any_timm_name_gets_strides_4_8_16() -> None:
    assert Backbone("efficientnet_b0", weights="random").strides == [4, 8, 16]
