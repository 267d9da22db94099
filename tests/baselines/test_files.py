"""Files of baselines: read back equal, and refused when damaged, of another kind, or not what they claim."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TwoLevels

from fastflow_lite import FastFlow
from fastflow_lite.baselines import BASELINES, Baseline, PaDiM, PatchCore
from fastflow_lite.errors import CheckpointError
from fastflow_lite.files import read_header, read_tensors, write_tensors


@pytest.fixture(params=BASELINES)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    model: Any = BASELINES[request.param](TwoLevels())
    model.fit(torch.rand(6, 3, 32, 48), progress=False)
    model.save(tmp_path / "part.safetensors", {"own": "entry"})
    return model, tmp_path / "part.safetensors"


def test_a_file_gives_the_same_model(saved: tuple[Baseline, Path]) -> None:
    model, path = saved
    loaded, images = type(model).load(path, backbone=TwoLevels()), torch.rand(3, 3, 32, 48)
    for one, other in zip(model.predict(images), loaded.predict(images), strict=True):
        assert torch.equal(one, other)
    assert loaded.config == model.config and loaded.input_format == model.input_format
    assert loaded.backbone.weights_info == model.backbone.weights_info
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert read_header(path)[1]["own"] == "entry"
    loaded.fit(images, progress=False)


@pytest.mark.parametrize("kind", BASELINES.values(), ids=BASELINES)
def test_a_known_network_stands_alone(kind: type[PatchCore] | type[PaDiM], tmp_path: Path) -> None:
    model, images = kind("resnet18"), torch.rand(3, 3, 32, 48)
    model.fit(images, progress=False)
    model.save(tmp_path / "part.safetensors")
    assert torch.equal(kind.load(tmp_path / "part.safetensors").predict(images)[1], model.predict(images)[1])


def changed(path: Path, tensors: dict[str, Any] | None = None, **entries: Any) -> None:
    state, header = read_tensors(path)
    config = json.loads(header["config"]) | entries.pop("config", {})
    write_tensors(path, state | (tensors or {}), header | {"config": json.dumps(config)} | entries)


@pytest.mark.hostile
def test_what_is_no_such_file_is_refused(saved: tuple[Baseline, Path], tmp_path: Path) -> None:
    model, path = saved
    kind, method = type(model), model.config.method
    with pytest.raises(CheckpointError, match="does not exist"):
        kind.load(tmp_path / "none")
    other = next(other for other in BASELINES.values() if other is not kind)
    with pytest.raises(CheckpointError, match=f"is not a model written by {other.__name__}.save"):
        other.load(path)
    with pytest.raises(CheckpointError, match=r"is not a model written by FastFlow.save"):
        FastFlow.load(path)
    changed(path, format=f"fastflow-lite {method} 2")
    with pytest.raises(CheckpointError, match="of another version; this version reads"):
        kind.load(path)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"config": {"smoothing": -1}}, "a configuration that cannot be used: smoothing must be"),
        ({"config": {"extra": 1}}, "a configuration has the entries"),
        ({"weights": '{"source": 1}'}, "weights are described by the texts"),
        ({"images": '{"image_size": [0, 1]}'}, "image_size must be"),
        ({"images": "["}, "a configuration that cannot be used"),
    ],
)
def test_a_wrong_header_is_named(saved: tuple[Baseline, Path], entries: dict[str, Any], why: str) -> None:
    model, path = saved
    changed(path, **entries)
    with pytest.raises(CheckpointError, match=why):
        type(model).load(path, backbone=TwoLevels())


@pytest.mark.hostile
def test_wrong_tensors_are_named(saved: tuple[Baseline, Path]) -> None:
    model, path = saved
    name = "bank" if isinstance(model, PatchCore) else "mean"
    buffer = model.get_buffer(name)
    for wrong, why in (
        (buffer[..., :-1], f"{name} is"),
        (buffer.flatten(), "it holds no m"),
        (buffer[:0], "it holds no m"),
        (torch.full_like(buffer, torch.nan), f"not finite .{name}"),
    ):
        changed(path, {name: wrong})
        with pytest.raises(CheckpointError, match=why):
            type(model).load(path, backbone=TwoLevels())
    changed(path, {name: buffer, "more": buffer.clone()})
    with pytest.raises(CheckpointError, match="it has or lacks more"):
        type(model).load(path, backbone=TwoLevels())


@pytest.mark.hostile
def test_channels_that_are_not_there_are_refused(tmp_path: Path) -> None:
    model = PaDiM(TwoLevels(), channels=3)
    model.fit(torch.rand(3, 3, 32, 48), progress=False)
    model.save(tmp_path / "part.safetensors")
    changed(tmp_path / "part.safetensors", {"chosen": torch.tensor([0, 1, 10])})
    with pytest.raises(CheckpointError, match="channels that the backbone does not have"):
        PaDiM.load(tmp_path / "part.safetensors", backbone=TwoLevels())


@pytest.mark.hostile
def test_a_damaged_file_is_refused(saved: tuple[Baseline, Path]) -> None:
    model, path = saved
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        type(model).load(path, backbone=TwoLevels())
