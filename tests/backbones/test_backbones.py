"""Backbones: shapes, frozenness, where weights come from, and which sizes fit."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from fastflow_lite import backbones
from fastflow_lite.backbones import PRESETS, Backbone, timm_features
from fastflow_lite.backbones.weights import pink_noise
from fastflow_lite.errors import WeightsError
from fastflow_lite.files import write_tensors


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


@pytest.mark.parametrize(("name", "preset"), PRESETS.items(), ids=PRESETS)
def test_presets_give_the_maps_of_the_paper(name: str, preset: backbones.Preset) -> None:
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


def test_any_timm_name_gets_strides_4_8_16() -> None:
    assert Backbone("efficientnet_b0", weights="random").strides == [4, 8, 16]


def test_unknown_name_shows_near_ones() -> None:
    with pytest.raises(ValueError, match=r"no model 'resnet_18'"):
        Backbone("resnet_18")
    with pytest.raises(ValueError, match=r"near: .*wide_resnet50_2"):
        Backbone("wide_resnet50")


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


def test_random_is_always_the_same_and_says_what_it_is() -> None:
    first = Backbone("resnet18", weights="random")
    torch.manual_seed(77)
    again = Backbone("resnet18", weights="random")
    assert again.weights_info == first.weights_info
    assert "random" in first.weights_info.description
    assert Backbone("resnet18", weights=None).weights_info.sha256 != first.weights_info.sha256


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


def whole_resnet() -> dict[str, torch.Tensor]:
    timm = backbones.import_timm()
    return timm.create_model("resnet18").state_dict()


@pytest.mark.parametrize("form", ["plain", "state_dict", "module", "safetensors"])
def test_local_file_with_layers_that_are_not_used(tmp_path: Path, form: str) -> None:
    state = whole_resnet()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        write_tensors(path, state, {})
    elif form == "module":
        torch.save({"module." + name: t for name, t in state.items()}, path)
    else:
        torch.save({"state_dict": state} if form == "state_dict" else state, path)
    backbone = Backbone("resnet18", weights=path)
    assert torch.equal(backbone.network.state_dict()["layer3.1.conv2.weight"], state["layer3.1.conv2.weight"])
    assert backbone.weights_info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert backbone.weights_info.description == path.name


def test_weights_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth does not exist"):
        Backbone("resnet18", weights=tmp_path / "none.pth")
    short = tmp_path / "short.safetensors"
    write_tensors(short, whole_resnet(), {})
    short.write_bytes(short.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"short\.safetensors cannot be read"):
        Backbone("resnet18", weights=short)
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(WeightsError, match=r"noise\.pth cannot be read"):
        Backbone("resnet18", weights=tmp_path / "noise.pth")
    state = whole_resnet()
    torch.save({k: v for k, v in state.items() if not k.startswith("layer2")}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth lacks \d+ of \d+ tensors.*layer2"):
        Backbone("resnet18", weights=tmp_path / "part.pth")
    state["conv1.weight"] = state["conv1.weight"][:32]
    torch.save(state, tmp_path / "thin.pth")
    with pytest.raises(WeightsError, match=r"thin\.pth: 'conv1\.weight' has shape \(32, 3, 7, 7\)"):
        Backbone("resnet18", weights=tmp_path / "thin.pth")


class Evil:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('a weights file ran code')",)


def test_a_pickle_never_runs(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth cannot be read"):
        Backbone("resnet18", weights=tmp_path / "evil.pth")


def test_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = backbones.import_timm()
    kept = timm.create_model

    def create(name: str, pretrained: bool = False, **kwargs: object) -> nn.Module:
        if pretrained:
            raise OSError("no route to the hub")
        return kept(name, pretrained, **kwargs)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(WeightsError, match=r"no route.*local file.*bundled"):
        Backbone("resnet18", weights="timm")


@pytest.mark.realdata
def test_imagenet_weights_fit(real_weights: Path) -> None:
    backbone = Backbone("resnet18", weights=real_weights)
    assert backbone.weights_info.sha256.startswith("ba93982e")
    assert [round(float(m.std()), 1) > 0 for m in backbone(torch.rand(1, 3, 64, 64))] == [True] * 3
