"""Detectors over a baseline are calibrated, saved and loaded as others, and refused where they cannot work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TwoLevels, parts

from fastflow_lite import Detector, FastFlow
from fastflow_lite.baselines import BASELINES
from fastflow_lite.detection.any_model import load_model
from fastflow_lite.errors import ArgumentError, CheckpointError


@pytest.fixture(params=BASELINES)
def fitted(request: pytest.FixtureRequest) -> Any:
    model = BASELINES[request.param](TwoLevels())
    model.fit(
        torch.stack([torch.from_numpy(part / 255).float().permute(2, 0, 1) for part in parts(30)]), progress=False
    )
    return model


def test_a_detector_is_saved_and_loaded(fitted: Any, tmp_path: Path) -> None:
    detector = Detector.calibrate(fitted, list(parts(20, seed=1)))
    detector.save(tmp_path / "part.safetensors")
    loaded, images = Detector.load(tmp_path / "part.safetensors", TwoLevels()), list(parts(3, seed=2, spot=True))
    assert type(loaded.model) is type(load_model(tmp_path / "part.safetensors", TwoLevels())) is type(fitted)
    for one, other in zip(detector(images), loaded(images), strict=True):
        assert one.alarm and other.raw_score == one.raw_score and np.array_equal(one.map, other.map)
    batch = torch.stack([torch.from_numpy(part / 255).float().permute(2, 0, 1) for part in images])
    raw = [finding.raw_score for finding in loaded(images)]
    assert raw == pytest.approx(fitted.predict(batch)[1].tolist(), rel=1e-4)


def test_with_a_part_left_out_the_score_is_that_of_the_rest(fitted: Any) -> None:
    left_out = np.zeros((64, 64), bool)
    left_out[12:40, 12:40] = True
    detector = Detector.calibrate(fitted, list(parts(20, seed=1)), ignore=left_out)
    whole = Detector.calibrate(fitted, list(parts(20, seed=1)))
    image = parts(1, seed=2, spot=True)[0]
    assert whole(image).alarm and whole(image).map[22:30, 22:30].max() > detector(image).map[22:30, 22:30].max()
    rest = fitted.predict(torch.from_numpy(image / 255).float().permute(2, 0, 1)[None])[0][0, 0].numpy()[~left_out]
    assert detector(image).raw_score == pytest.approx(float(rest.max()), rel=1e-4)


def test_it_cannot_be_exported(fitted: Any, tmp_path: Path) -> None:
    detector = Detector.calibrate(fitted, list(parts(20, seed=1)))
    with pytest.raises(ArgumentError, match="only one over a FastFlow can be exported"):
        detector.export(tmp_path / "part.pt2")
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_threshold_is_loaded_by_its_kind(fitted: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.safetensors")
    assert type(load_model(tmp_path / "model.safetensors", TwoLevels())) is type(fitted)
    with pytest.raises(CheckpointError, match="a model without a threshold"):
        Detector.load(tmp_path / "model.safetensors", TwoLevels())
    other = FastFlow(TwoLevels(), steps=1)
    other.save(tmp_path / "flow.safetensors")
    assert type(load_model(tmp_path / "flow.safetensors", TwoLevels())) is FastFlow
