"""Exported files compute what the model computes, to 1e-4, in torch and in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import started

from fastflow_lite import FastFlow
from fastflow_lite.course.checks import perturb
from fastflow_lite.detection import export
from fastflow_lite.errors import NotTrainedError

SIZE = (64, 96)
TOLERANCE = 1e-4
with_onnx = pytest.mark.skipif(
    bool(export.missing_packages()), reason=f"not installed: {', '.join(export.missing_packages())}"
)


@pytest.fixture(scope="module")
def model() -> FastFlow:
    """Far from its first weights, where every position has the same energy."""
    model = started(FastFlow("resnet18", "bundled", steps=1, hidden=16, map="energy", image_score="top"))
    perturb(model.flows, 0.1)
    return model


@pytest.fixture(scope="module")
def onnx_file(model: FastFlow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("é x") / "détecteur.onnx"
    export.write_onnx(model, path, SIZE, {"threshold": "0.25"})
    return path


def difference(model: FastFlow, found: tuple[torch.Tensor, torch.Tensor], images: torch.Tensor) -> float:
    """The largest, relative to how much the model's own maps vary."""
    maps, scores = model.predict(images)
    assert found[0].shape == maps.shape and found[1].shape == scores.shape
    spread = float(maps.std())
    assert spread > 1e-2, "maps that are flat would be equal by themselves"
    return max(float((found[0] - maps).abs().max()), float((found[1] - scores).abs().max())) / spread


@pytest.mark.parametrize("batch", [1, 3])
def test_torch_program_equals_the_model(model: FastFlow, batch: int, tmp_path: Path) -> None:
    images = torch.rand(batch, 3, *SIZE)
    export.write_torch(model, tmp_path / "m.pt2", SIZE)
    found = torch.export.load(tmp_path / "m.pt2").module()(images)
    assert difference(model, tuple(f.detach() for f in found), images) < TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


@with_onnx
@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_equals_the_model(model: FastFlow, onnx_file: Path, batch: int) -> None:
    images = torch.rand(batch, 3, *SIZE)
    assert difference(model, export.run_onnx(onnx_file, images), images) < TOLERANCE


@with_onnx
def test_onnx_is_one_file_that_knows_its_size_and_threshold(onnx_file: Path) -> None:
    assert [path.name for path in onnx_file.parent.iterdir()] == [onnx_file.name]
    assert export.read_metadata(onnx_file) == {"height": "64", "width": "96", "threshold": "0.25"}


@pytest.mark.parametrize("training", [True, False])
def test_exporting_leaves_the_model_as_it_was(model: FastFlow, training: bool) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train(training)
    export.export_program(model, SIZE)
    assert model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.flows.parameters()] == [True] * len(list(model.flows.parameters()))


def test_uncounted_affine_is_exported_too() -> None:
    model = started(FastFlow("resnet18", "bundled", steps=1, hidden=16, map="energy", uncounted_affine=(64, 64)))
    perturb(model.flows, 0.1)
    perturb(model.affine, 0.3)
    images = torch.rand(2, 3, 64, 64)
    found = export.export_program(model, (64, 64)).module()(images)
    assert difference(model, tuple(f.detach() for f in found), images) < TOLERANCE


def test_a_size_that_does_not_fit_is_named(model: FastFlow) -> None:
    with pytest.raises(ValueError, match=r"image size \(60, 96\) .* the nearest sizes are \(48, 96\) and \(64, 96\)"):
        export.export_program(model, (60, 96))


def test_a_model_that_was_not_trained_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(NotTrainedError, match="has not been trained"):
        export.write_torch(FastFlow("resnet18", "bundled", steps=1, hidden=16), tmp_path / "m.pt2", SIZE)
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(model: FastFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "missing_packages", lambda: ["onnxscript"])
    with pytest.raises(ImportError, match=r"onnxscript missing: pip install 'fastflow-lite\[export\]'"):
        export.write_onnx(model, tmp_path / "m.onnx", SIZE)
    assert not list(tmp_path.iterdir())
