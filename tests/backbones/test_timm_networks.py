"""timm's networks: which layers are built, which sizes they take, which names exist."""

from importlib.metadata import version

import pytest
import torch
from torch import nn

from fastflow_lite.backbones import Backbone, preset_for, timm_features, timm_networks
from fastflow_lite.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("few_noise_images")


def test_transformer_stops_after_its_layer_and_ends_in_its_own_norm() -> None:
    with torch.device("meta"):
        getter = timm_features("deit_base_distilled_patch16_384", (7,))
    assert len(getter.model.blocks) == 8
    assert isinstance(getter.model.norm, nn.LayerNorm)
    assert getter.norm


def test_an_efficientnet_stops_after_its_last_layer() -> None:
    with torch.device("meta"):
        parts = [timm_features("efficientnet_b0", layers).blocks for layers in ((0, 1), (1, 2, 3), (2, 4))]
        maps = timm_features("efficientnet_b0", (2, 3)).eval()(torch.rand(1, 3, 64, 64))
    assert [len(stages) for stages in parts] == [2, 5, 7]
    assert [tuple(m.shape[1:]) for m in maps] == [(40, 8, 8), (112, 4, 4)]


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
    with pytest.raises(ValueError, match=r"no model 'resnet'; near: ([^,]+, ){4}[^,]+$"):
        Backbone("resnet")


# Before it these are refused: their feature levels have no strides, or layers are replaced while they are built.
since_timm_1_0_31 = pytest.mark.skipif(
    tuple(map(int, version("timm").split(".")[:3])) < (1, 0, 31), reason="timm gives no features of it before 1.0.31"
)


@since_timm_1_0_31
def test_a_transformer_with_one_image_size_gives_maps_of_that_size() -> None:
    backbone = Backbone("convit_tiny", weights=None)
    assert (backbone.strides, backbone.preset.image_size) == ([16], 224)
    assert backbone(torch.rand(1, 3, 224, 224))[0].shape[2:] == (14, 14)


@pytest.mark.parametrize(
    ("name", "size", "strides"),
    [
        pytest.param("coat_tiny", 224, [4, 8, 16], marks=since_timm_1_0_31),
        ("efficientformerv2_s0", 224, [4, 8, 16]),
        ("levit_128s", 224, [16]),
        ("maxvit_pico_rw_256", 256, [4, 8, 16]),
        pytest.param("mixer_s32_224", 224, [32], marks=since_timm_1_0_31),
        ("swin_s3_tiny_224", 224, [4, 8, 16]),
        pytest.param("visformer_tiny", 224, [8, 16], marks=since_timm_1_0_31),
        ("xcit_nano_12_p16_224", 224, [16]),
    ],
)
def test_networks_of_many_kinds_work_at_their_own_size(name: str, size: int, strides: list[int]) -> None:
    """Windows, token mixers, position embeddings of one size: what a network does not take is refused with a reason."""
    backbone = Backbone(name, weights=None)
    assert (backbone.preset.image_size, backbone.strides) == (size, strides)
    assert [m.shape[2:] for m in backbone(torch.rand(1, 3, size, size))] == [(size // s, size // s) for s in strides]
    try:
        backbone(torch.rand(1, 3, 288, 288))
    except ArgumentError as error:
        assert name in str(error)  # noqa: PT017


def test_a_tag_chooses_weights_and_leaves_the_rest() -> None:
    assert preset_for("resnet18.tv_in1k") == preset_for("resnet18")
    assert Backbone("resnet18.tv_in1k", weights=None).channels == [64, 128, 256]
    with pytest.raises(ArgumentError, match=r"timm cannot build 'resnet18.bogus': Invalid pretrained tag"):
        Backbone("resnet18.bogus", weights=None)


@pytest.mark.parametrize("layers", [(5,), (1, 1), (-1,)])
def test_layers_that_a_network_does_not_have_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="layers of resnet18 must be different numbers from 0 to 4, got"):
        Backbone("resnet18", None, layers)


def test_a_network_without_the_usual_strides_needs_layers() -> None:
    for make in (lambda: Backbone("crossvit_tiny_240", None), lambda: Backbone("resnet18", None, ())):
        with pytest.raises(ArgumentError, match=r"choose layers of .*: its feature levels have the strides \["):
            make()


def test_layers_that_timm_cannot_return_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> nn.Module:
        raise AssertionError("no forward_intermediates\nand more")

    monkeypatch.setattr(timm_networks, "_network_of_layers", fail)
    with pytest.raises(ArgumentError, match=r"maps of the layers \[1\] of resnet18: no forward_intermediates$"):
        timm_features("resnet18", (1,))
    with pytest.raises(AssertionError):  # with weights it may be the download, which `build_with_weights` names
        timm_features("resnet18", (1,), pretrained=True)
