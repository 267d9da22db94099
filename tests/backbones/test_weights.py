"""Where weights come from: the package, a file, timm's hub, a random state."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fastflow_lite.backbones import Backbone, import_timm, weights
from fastflow_lite.errors import WeightsError
from fastflow_lite.files import write_tensors


def test_random_is_always_the_same_and_says_what_it_is() -> None:
    first = Backbone("resnet18", weights="random")
    torch.manual_seed(77)
    again = Backbone("resnet18", weights="random")
    assert again.weights_info == first.weights_info
    assert "random" in first.weights_info.description
    assert Backbone("resnet18", weights=None).weights_info.sha256 != first.weights_info.sha256


def whole_resnet() -> dict[str, torch.Tensor]:
    timm = import_timm()
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
    with pytest.raises(WeightsError, match=f"{tmp_path.name} is a folder: a file is expected; give a file, or"):
        Backbone("resnet18", weights=tmp_path)
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


@pytest.mark.hostile
def test_a_pickle_never_runs(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth cannot be read"):
        Backbone("resnet18", weights=tmp_path / "evil.pth")


def test_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = import_timm()
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


def test_bundled_file_is_small_half_precision_and_recorded() -> None:
    assert weights.BUNDLED.stat().st_size < 6_000_000
    assert hashlib.sha256(weights.BUNDLED.read_bytes()).hexdigest() == weights.BUNDLED_SHA256
    state = load_file(weights.BUNDLED)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert {name.split(".")[0] for name in state} == {"conv1", "bn1", "layer1", "layer2", "layer3"}


def test_bundled_is_the_default_and_says_what_it_is() -> None:
    torch.manual_seed(77)
    backbone = Backbone()
    info = backbone.weights_info
    assert (info.source, info.sha256) == ("bundled", weights.BUNDLED_SHA256)
    assert "formula" in info.description
    stored = load_file(weights.BUNDLED)["layer3.1.conv2.weight"]
    assert torch.equal(backbone.network.layer3[1].conv2.weight, stored.float())
    assert not backbone.network.layer3[1].conv2.weight.requires_grad


def test_bundled_for_another_network_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"for resnet18, there are none for resnet34.*'timm'"):
        Backbone("resnet34")
    with pytest.raises(WeightsError, match="lacks"):
        Backbone("resnet18", layers=(1, 4))


@pytest.mark.hostile
def test_damaged_bundled_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(weights.BUNDLED.read_bytes())
    content[-1] ^= 1
    (tmp_path / "bundled.safetensors").write_bytes(content)
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "bundled.safetensors")
    with pytest.raises(WeightsError, match=r"bundled\.safetensors is not the file that belongs"):
        Backbone("resnet18")


@pytest.mark.hostile
@pytest.mark.parametrize("state", [{1: torch.zeros(2)}, {"a": object}, [torch.zeros(2)]])
def test_a_file_without_names_and_tensors_is_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth (holds no state dict|cannot be read)"):
        weights.read_state(tmp_path / "odd.pth")
