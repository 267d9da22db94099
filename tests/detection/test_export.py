"""Exported files compute what the model computes, to 1e-4, in torch and in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Constant, started

from fastflow_lite import FastFlow
from fastflow_lite.course.checks import perturb
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import export
from fastflow_lite.errors import ArgumentError, NotTrainedError

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
    model.input_format = InputFormat(SIZE, 4095)
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
    assert export.read_metadata(onnx_file) == {
        "height": "64", "width": "96", "threshold": "0.25", "value_range": "0 to 1", "trained_height": "64",
        "trained_width": "96", "white_level": "4095",
    }  # fmt: skip


@with_onnx
def test_onnx_of_a_model_whose_training_images_are_not_known(tmp_path: Path) -> None:
    model = started(FastFlow(Constant(0.0, 1.0), steps=1, hidden=4))
    export.write_onnx(model, tmp_path / "m.onnx", (32, 48))
    assert export.read_metadata(tmp_path / "m.onnx") == {"height": "32", "width": "48", "value_range": "0 to 1"}


def test_an_exported_graph_gives_images_beyond_0_to_1_infinite_scores(model: FastFlow) -> None:
    images = torch.rand(4, 3, *SIZE)
    images[1] *= 255
    images[2, 0, 3, 5] = -0.02
    images[3, 0, 3, 5] = torch.nan
    maps, found = export.export_program(model, SIZE).module()(images)
    assert found.isinf().tolist() == maps.isinf().all(dim=3).all(dim=2)[:, 0].tolist() == [False, True, True, True]


@with_onnx
def test_onnx_refuses_what_the_model_refuses(onnx_file: Path) -> None:
    import onnxruntime

    images = torch.rand(2, 3, *SIZE)
    with pytest.raises(ArgumentError, match=r"finite values in \[0, 1\]"):
        export.run_onnx(onnx_file, 255 * images)
    with pytest.raises(ArgumentError, match=r"images must be \(B, 3, 64, 96\) for .*got \(2, 3, 96, 64\)"):
        export.run_onnx(onnx_file, images.swapaxes(2, 3))
    images[1] = 2 * images[1] - 1
    found = onnxruntime.InferenceSession(str(onnx_file)).run(["scores"], {"images": images.numpy()})[0]
    assert np.isinf(found).tolist() == [False, True]
    assert export.run_onnx(onnx_file, images[:1].double())[1].isfinite()


def test_exporting_for_another_size_than_the_trained_one_is_named(model: FastFlow) -> None:
    with pytest.warns(UserWarning, match=r"images of 32 x 64 pixels .* trained on 64 x 96"):
        export.export_program(model, (32, 64))


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
