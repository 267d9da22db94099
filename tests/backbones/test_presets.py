"""Presets: the paper's layers and sizes, and the rules for other networks."""

import pytest
import torch

from fastflow_lite.backbones import PRESETS, Backbone, Preset, presets, timm_features
from fastflow_lite.backbones.presets import OTHER, preset_for
from fastflow_lite.backbones.timm_networks import NetworkTraits

pytestmark = pytest.mark.usefixtures("few_noise_images")


def test_presets_have_the_values_of_the_paper() -> None:
    assert {
        "resnet18": Preset(256, (1, 2, 3), steps=8, kernels=(3,), hidden=None, hidden_floor=64),
        "wide_resnet50_2": Preset(256, (1, 2, 3), steps=8, kernels=(3, 1), hidden=None, hidden_floor=0),
        "deit_base_distilled_patch16_384": Preset(384, (7,), steps=20, kernels=(3, 1), hidden=128),
        "cait_m48_448": Preset(448, (40,), steps=20, kernels=(3, 1), hidden=128),
    } == PRESETS
    assert Preset(256, (), steps=8, kernels=(3, 1)) == OTHER
    assert [PRESETS["resnet18"].hidden_for(channels) for channels in (64, 256)] == [64, 128]
    assert [PRESETS["cait_m48_448"].hidden_for(768), OTHER.hidden_for(64), OTHER.hidden_for(1)] == [128, 32, 1]


def test_other_transformers_get_a_block_two_thirds_of_the_way_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preset_for("vit_tiny_patch16_224") == Preset(224, (7,), steps=8, kernels=(3, 1)), "block 8 of 12"
    traits = NetworkTraits((16, 16), 96, channels_last=False, is_resnet=False, is_cait=False, resamples_positions=True)
    monkeypatch.setattr(presets, "network_traits", lambda name: traits)
    assert preset_for("of two blocks") == Preset(96, (0,), steps=8, kernels=(3, 1))


def test_other_networks_get_the_strides_4_8_16() -> None:
    assert preset_for("resnet34") == Preset(256, (1, 2, 3), steps=8, kernels=(3, 1))


def test_efficientnet_lite0_has_a_preset_whatever_its_tag() -> None:
    preset = preset_for("tf_efficientnet_lite0.in1k")
    assert preset == Preset(256, (1, 2, 3), steps=8, kernels=(3, 1), hidden_floor=64)
    assert [preset.hidden_for(channels) for channels in (24, 40, 112)] == [64, 64, 64]


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
