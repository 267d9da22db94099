"""The ResNet-18 that needs no timm is timm's: names, shapes, and maps bit by bit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.backbones import Backbone, timm_features
from fastflow_lite.backbones.resnet18 import LAYERS, NAME, ResNet18


@pytest.mark.parametrize("size", [(64, 64), (70, 45)])
def test_maps_are_those_of_timm(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    theirs, ours = timm_features(NAME, LAYERS).eval(), ResNet18().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    assert {name: t.shape for name, t in ours.state_dict().items()} == {
        name: t.shape for name, t in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, *size)
    for a, b in zip(ours(images), theirs(images), strict=True):
        assert torch.equal(a, b)


def test_only_the_default_layers_are_built_without_timm() -> None:
    assert isinstance(Backbone(NAME).network, ResNet18)
    other = Backbone(NAME, layers=(1, 2))
    assert not isinstance(other.network, ResNet18)
    image = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(other(image), Backbone(NAME)(image)[:2], strict=True))


def test_random_weights_are_those_of_timm() -> None:
    assert not isinstance(Backbone(NAME, weights="random").network, ResNet18)
    assert not isinstance(Backbone(NAME, weights=None).network, ResNet18)


@pytest.mark.slow
def test_a_saved_model_is_loaded_and_used_without_timm_and_torchvision(small_model: FastFlow, tmp_path: Path) -> None:
    small_model.cpu().save(tmp_path / "m.safetensors")
    code = "import sys, torch; from fastflow_lite import FastFlow; model = FastFlow.load(sys.argv[1])\n"
    code += "from fastflow_lite.datasets.image_files import resize\n"
    code += "model.predict(resize(torch.rand(3, 80, 80), (64, 64))[None])\n"
    code += (
        "print([name for name in ('timm', 'torchvision', 'torch._dynamo', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "m.safetensors"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
