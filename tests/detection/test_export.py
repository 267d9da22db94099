"""An exported program computes what its detector computes, to 1e-4, and decides as it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Constant, TwoLevels, started

from fastflow_lite import FastFlow, fit
from fastflow_lite.course.checks import perturb
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector, export
from fastflow_lite.detection.export_formats import FORMATS
from fastflow_lite.detection.score_scale import ScoreScale
from fastflow_lite.errors import ArgumentError, CheckpointError, ExportError
from fastflow_lite.scoring.thresholds import Threshold

SIZE, SMALL = (64, 96), (32, 48)
TOLERANCE = 1e-4


def installed(name: str) -> bool:
    try:
        FORMATS[name].require_packages()
    except ImportError:
        return False
    return True


def given(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not installed(name), reason=f"packages of the format {name} are not installed")


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Far from its first weights, where every position has the same energy."""
    return detector_over(TwoLevels())


def detector_over(backbone: str | torch.nn.Module) -> Detector:
    options: dict[str, Any] = {"map": "exp_energy", "image_score": "top_inside", "smoothing": 1.0}
    options |= {"sharpness": 2.0, "scale_weights": "rising"}
    model = started(FastFlow(backbone, "bundled", steps=1, hidden=16, **options))
    perturb(model.flows, 0.1)
    model.input_format = InputFormat(SIZE, 4095)
    ignore = np.zeros(SIZE, bool)
    ignore[:20, 40:] = True
    return Detector.calibrate(model, drawn(9, seed=1), rule="quantile", alpha=0.2, ignore=ignore, train_sha256="ab12")


@pytest.fixture(scope="module")
def program(detector: Detector) -> torch.export.ExportedProgram:
    return export.export_program(detector)


@pytest.fixture(scope="module")
def onnx_file(
    detector: Detector, program: torch.export.ExportedProgram, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("é x") / "détecteur.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_program", lambda detector: program)  # it takes seconds
        assert detector.export(path) < TOLERANCE
    return path


@pytest.fixture(scope="module")
def small() -> Detector:
    """Over a backbone with few operations, which are exported soon."""
    return small_detector()


def small_detector(**options: Any) -> Detector:
    model = started(FastFlow(Constant(0.5, 2.0), steps=1, hidden=4, map="nll", **options), *SMALL)
    perturb(model.flows, 0.1)
    perturb(model.affine, 0.3)
    return Detector.calibrate(model, drawn(9, SMALL, seed=1), rule="quantile", alpha=0.2, size=SMALL)


@pytest.fixture(scope="module")
def small_program(small: Detector) -> torch.export.ExportedProgram:
    return export.export_program(small)


def check_equal(detector: Detector, outputs: dict[str, torch.Tensor], images: torch.Tensor) -> None:
    """The images are like those that set the threshold, so that most scores are not close to 0 or 1 by themselves."""
    findings = list(detector(images))
    scores = np.array([f.score for f in findings])
    inner = scores[(scores > 0.01) & (scores < 0.99)]
    assert len(inner) >= 3 and np.ptp(inner) > 0.05
    assert outputs["maps"].shape == (len(images), 1, *detector.size)
    for name, found in (("maps", [f.small_map[None] for f in findings]), ("scores", scores)):
        np.testing.assert_allclose(outputs[name].detach().numpy(), np.array(found), atol=TOLERANCE, rtol=0)
    raw = [f.raw_score for f in findings]
    np.testing.assert_allclose(outputs["raw_scores"].detach().numpy(), raw, rtol=TOLERANCE)
    assert outputs["alarms"].tolist() == [f.alarm for f in findings]
    masks = np.stack([f.small_map for f in findings]) >= np.float32(findings[0].pixel_level)
    assert masks.any() and np.mean(outputs["masks"].numpy()[:, 0] != masks) < 1e-3


def drawn(count: int, size: tuple[int, int] = SIZE, seed: int = 2) -> torch.Tensor:
    contrast = torch.linspace(0.8, 1, count)[:, None, None, None]
    return contrast * torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_torch_program_equals_the_detector(detector: Detector, program: torch.export.ExportedProgram) -> None:
    check_equal(detector, program.module()(drawn(5)), drawn(5))
    assert program.module()(drawn(5)[:1])["scores"].shape == (1,)


@given("onnx")
def test_onnx_equals_the_detector(detector: Detector, onnx_file: Path) -> None:
    check_equal(detector, export.run_exported(onnx_file, drawn(5)), drawn(5))
    assert export.run_exported(onnx_file, drawn(5)[:1].double())["scores"].shape == (1,)


@given("onnx")
@pytest.mark.long
def test_onnx_equals_a_detector_over_resnet18(tmp_path: Path) -> None:
    assert detector_over("resnet18").export(tmp_path / "m.onnx") < TOLERANCE


@given("onnx")
def test_onnx_is_one_file_with_all_that_a_decision_needs(detector: Detector, onnx_file: Path) -> None:
    assert [path.name for path in onnx_file.parent.iterdir()] == [onnx_file.name]
    found = export.read_metadata(onnx_file)
    assert json.loads(found.pop("versions")) == detector.versions
    assert float(found.pop("pixel_threshold")) == detector.pixel_threshold
    assert float(found["threshold"]) == float(found.pop("scale_threshold")) == detector.threshold.value
    assert float(found.pop("threshold")) > float(found.pop("scale_median")) == detector.scale.median
    assert float(found.pop("pixel_score")) == detector.scale(detector.pixel_threshold)
    assert found == {
        "format": "fastflow-lite detector 1", "height": "64", "width": "96", "channels": "RGB",
        "value_range": "0 to 1", "resizing": "bilinear with anti-aliasing", "white_level": "4095", "rule": "quantile",
        "note": detector.threshold.note, "promised_rate": "0.2", "normal_images": "9", "backbone": "TwoLevels",
        "map": "exp_energy", "image_score": "top_inside", "train_sha256": "ab12",
    }  # fmt: skip


@given("onnx")
def test_onnx_refuses_what_the_detector_refuses(onnx_file: Path) -> None:
    with pytest.raises(ArgumentError, match=r"finite values in \[0, 1\]"):
        export.run_exported(onnx_file, 255 * drawn(2))
    with pytest.raises(ArgumentError, match=r"images must be \(B, 3, 64, 96\) for .*got \(2, 3, 96, 64\)"):
        export.run_exported(onnx_file, drawn(2).swapaxes(2, 3))


def beyond() -> torch.Tensor:
    """One image within [0, 1] and three beyond."""
    images = drawn(4)
    images[1] *= 255
    images[2, 0, 3, 5] = -0.02
    images[3, 0, 3, 5] = torch.nan
    return images


def check_alarms_beyond(outputs: dict[str, torch.Tensor]) -> None:
    assert outputs["raw_scores"].isinf().tolist() == [False, True, True, True]
    assert outputs["alarms"][1:].all() and outputs["masks"][1:].all()
    assert (outputs["maps"][1:] == 1).all() and (outputs["scores"][1:] == 1).all()


def test_an_exported_graph_makes_images_beyond_0_to_1_alarms(program: torch.export.ExportedProgram) -> None:
    check_alarms_beyond(program.module()(beyond()))


@given("onnx")
def test_onnx_runtime_makes_images_beyond_0_to_1_alarms(onnx_file: Path) -> None:
    check_alarms_beyond(FORMATS["onnx"].run(onnx_file, beyond()))


@given("openvino")
def test_openvino_equals_the_detector(small: Detector, tmp_path: Path) -> None:
    assert small.export(tmp_path / "m.xml") < TOLERANCE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    images = drawn(5, SMALL)
    check_equal(small, export.run_exported(tmp_path / "m.xml", images), images)
    assert float(export.read_metadata(tmp_path / "m.xml")["threshold"]) == small.threshold.value
    images[1] = torch.nan
    assert FORMATS["openvino"].run(tmp_path / "m.xml", images)["raw_scores"].isinf().tolist() == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_a_torch_file_has_its_metadata(
    small: Detector, small_program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "export_program", lambda detector: small_program)
    assert small.export(tmp_path / "new" / "m.pt2") < TOLERANCE
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.pt2"]
    images = drawn(5, SMALL)
    check_equal(small, export.run_exported(tmp_path / "new" / "m.pt2", images), images)
    found = export.read_metadata(tmp_path / "new" / "m.pt2")
    assert float(found["threshold"]) == small.threshold.value
    assert "white_level" not in found and "train_sha256" not in found


def with_threshold(detector: Detector, value: float) -> Detector:
    rule = Threshold(value, "fixed", "by hand")
    return Detector.calibrate(detector.model, drawn(3, SMALL), rule=rule, size=SMALL)


@pytest.mark.parametrize("above", [False, True])
def test_no_decision_moves_by_the_rounding_of_a_threshold(small: Detector, above: bool) -> None:
    """A float64 threshold just above or at a float32 score: float32 would round both to the score."""
    with torch.no_grad():
        score = float(export.ExportableDetector(small)(drawn(1, SMALL))["raw_scores"])
    value = float(np.nextafter(score, np.inf)) if above else score
    moved = with_threshold(small, value)
    with torch.no_grad():
        outputs = export.ExportableDetector(moved)(drawn(1, SMALL))
    assert float(outputs["raw_scores"]) == score
    assert bool(outputs["alarms"]) == bool(moved.threshold.decide(score)) == (not above)
    assert (float(outputs["scores"]) >= 0.5) == (not above)


def test_the_scale_of_a_graph_is_that_of_the_detector(small: Detector) -> None:
    raw = torch.linspace(-3, 3, 601) * (small.threshold.value - small.scale.median) + small.threshold.value
    found = export.ExportableDetector(small).scaled(raw).numpy()
    np.testing.assert_allclose(found, small.scale(raw.numpy()), atol=1e-6)


@pytest.mark.parametrize("value", [0.1, -0.1, 1e300, -1e300, 0.0, 1e-50])
def test_the_float32_from_a_value(value: float) -> None:
    found = np.float32(export.float32_from(value))
    with np.errstate(over="ignore"):
        assert float(found) >= value > float(np.nextafter(found, np.float32(-np.inf)))


@pytest.mark.parametrize("training", [True, False])
def test_exporting_leaves_the_model_as_it_was(training: bool) -> None:
    small = small_detector()
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    small.model.train(training)
    export.export_program(small)
    assert small.model.training is training
    assert all(torch.equal(value, before[name]) for name, value in small.model.state_dict().items())
    assert [p.requires_grad for p in small.model.flows.parameters()] == [True] * len(
        list(small.model.flows.parameters())
    )


def test_uncounted_affine_is_exported_too() -> None:
    small = small_detector(uncounted_affine=SMALL)
    check_equal(small, export.export_program(small).module()(drawn(5, SMALL)), drawn(5, SMALL))


def test_a_program_that_differs_is_not_written(
    small: Detector, small_program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "export_program", lambda detector: small_program)
    (tmp_path / "m.pt2").write_text("before")
    with pytest.raises(ExportError, match=r"format torch differs from its detector by .*m\.pt2 is not written"):
        with_threshold(small, small.threshold.value + 0.001).export(tmp_path / "m.pt2")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_the_tolerance_grows_with_a_steep_scale_alone(small: Detector) -> None:
    assert export.tolerance(small) == TOLERANCE
    steep = with_threshold(small, small.scale.median)
    steep.scale = ScoreScale(0.2, 0.2 - 1e-4)
    assert 0.05 < export.tolerance(steep) < 0.2


def test_a_detector_in_tiles_is_refused(tmp_path: Path) -> None:
    model = started(FastFlow(Constant(0.5, 2.0), steps=1, hidden=4), 32, 32)
    tiled = Detector.calibrate(model, torch.rand(2, 3, 40, 40), rule=0.0, tile=32, overlap=8)
    with pytest.raises(ArgumentError, match="judges images in tiles of 32 pixels"):
        tiled.export(tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


def test_another_suffix_and_a_file_that_is_missing_are_named(small: Detector, tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"one of \.onnx \(onnx\), \.pt2 \(torch\), \.xml \(openvino\), got .*m\.pb"
    ):
        small.export(tmp_path / "m.pb")
    with pytest.raises(CheckpointError, match=r"there is no exported program .*m\.pt2"):
        export.run_exported(tmp_path / "m.pt2", drawn(1))


def test_statistics_of_the_training_are_exported() -> None:
    """Those per channel and per position, of a detector that was just loaded: nothing has read their flags yet."""
    options: dict[str, Any] = {"normalize": "channel", "standardize_positions": True, "couple_scales": True}
    model = FastFlow(TwoLevels(), steps=1, hidden=4, image_score="top_inside", smoothing=4.0, **options)
    fit(model, drawn(4, size=SMALL), epochs=1, batch_size=2, noise=0.6, progress=False)
    detector = Detector.calibrate(model, drawn(4, seed=1, size=SMALL), rule="quantile")
    for normalize in model.normalize:
        normalize.is_ready = False
    images = drawn(3, seed=2, size=SMALL)
    found = export.export_program(detector).module()(images)
    torch.testing.assert_close(found["raw_scores"], model.predict(images)[1], atol=1e-5, rtol=1e-5)


def test_the_drawn_images_are_white_gray_black_and_a_ramp() -> None:
    white, gray, black, ramp = export.drawn_images((8, 64))
    assert white.eq(1).all()
    assert 0.5 <= gray.min() < gray.max() <= 0.55 and 0 <= black.min() < black.max() <= 0.05
    assert ramp[:, :, 0].max() <= 0.05 and ramp[:, :, -1].eq(1).all()
    assert (ramp.mean(dim=(0, 1)).diff() > -0.05).all()
