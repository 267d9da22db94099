"""A detector judges every kind of image alike, keeps all in one file, and may be called by several threads."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from detection.pictures_of_parts import SIZE, as_tensor, picture
from PIL import Image
from tiny import Constant

from fastflow_lite import FastFlow
from fastflow_lite.detection import Detector
from fastflow_lite.detection.detector import ENTRY
from fastflow_lite.errors import ArgumentError, CheckpointError, DataError, NotTrainedError
from fastflow_lite.scoring import Threshold


def load(path: Path) -> Detector:
    return Detector.load(path, Constant(0.0, 10.0))


def test_a_spot_is_an_alarm_and_its_region_is_where_it_is(detector: Detector) -> None:
    found = detector(picture(50, spot=True))
    assert found.alarm and found.score > 0.5 and found.size == found.map.shape == (40, 60)
    peak = found.regions[0]
    assert peak.top < 16 < peak.top + peak.height and peak.left < 25 < peak.left + peak.width
    assert peak.peak == pytest.approx(found.score, abs=0.05)
    calm = detector(picture(51))
    assert not calm.alarm and calm.score < 0.5
    assert detector.size == SIZE and detector.promised_rate == 0.05 and len(detector.normal_scores) == 20


def test_every_kind_of_image_has_the_same_score(detector: Detector, folder: Path) -> None:
    path = folder / "2.png"
    expected = detector(path).score
    array = np.asarray(Image.open(path))
    for image in (str(path), Image.open(path), array, array / 255, as_tensor(array.copy()), as_tensor(array / 255)):
        assert detector(image).score == pytest.approx(expected, abs=1e-6)


def test_several_images_are_an_iterator_in_order(detector: Detector, folder: Path) -> None:
    names = [str(folder / f"{k}.png") for k in range(5)]
    for source in (folder, sorted(folder.iterdir()), (path for path in sorted(folder.iterdir())), [folder]):
        found = detector(source)
        assert iter(found) is found
        judged = list(found)
        assert [one.name for one in judged] == names
        assert [one.alarm for one in judged] == [False, False, True, False, False]
    assert len(list(detector(torch.rand(3, 3, 32, 48)))) == 3


def test_a_wrong_image_is_named(detector: Detector) -> None:
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        detector("gone.png")
    with pytest.raises(DataError, match="image 0 must be a path"):
        detector(np.zeros((3, 4, 5, 6, 7)))


def test_save_and_load_keep_everything(part_model: FastFlow, tmp_path: Path) -> None:
    made = Detector.calibrate(
        part_model,
        [picture(seed) for seed in range(9)],
        rule="quantile",
        alpha=0.2,
        ignore=[[(0, 0), (0.2, 0), (0.2, 1), (0, 1)]],
        train_sha256="abc",
    )
    made.save(tmp_path / "part.safetensors")
    back = load(tmp_path / "part.safetensors")
    for name in ("size", "threshold", "pixel_threshold", "promised_rate", "scale", "train_sha256", "versions"):
        assert getattr(back, name) == getattr(made, name), name
    assert np.array_equal(back.normal_scores, made.normal_scores)
    assert made.ignore is not None and back.ignore is not None and np.array_equal(back.ignore, made.ignore)
    one, other = made(picture(3, spot=True)), back(picture(3, spot=True))
    assert one == other and np.array_equal(one.small_map, other.small_map)
    model = FastFlow.load(tmp_path / "part.safetensors", Constant(0.0, 10.0))
    assert model.input_format == part_model.input_format


def test_files_of_another_version_and_models_without_threshold_say_so(
    detector: Detector, part_model: FastFlow, tmp_path: Path
) -> None:
    part_model.save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors holds a model without a threshold"):
        load(tmp_path / "model.safetensors")
    part_model.save(tmp_path / "new.safetensors", {ENTRY: json.dumps({"format": 9, "versions": {"torch": "9"}})})
    with pytest.raises(
        CheckpointError, match=r"new\.safetensors holds a detector of format 9, of another version \(torch 9\)"
    ):
        load(tmp_path / "new.safetensors")
    for entry in ("{", "[]", "{}", '{"format": 1}', '{"format": 1, "size": [1], "ignore": null}'):
        part_model.save(tmp_path / "odd.safetensors", {ENTRY: entry})
        with pytest.raises(CheckpointError, match=r"odd\.safetensors holds a detector"):
            load(tmp_path / "odd.safetensors")


def test_several_threads_get_what_one_gets(detector: Detector) -> None:
    pictures = [picture(seed, spot=seed % 3 == 0) for seed in range(12)]
    alone = [detector(image).score for image in pictures]
    fresh = Detector(detector.scorer, detector.calibration)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: fresh(image).score, pictures))
    assert together == pytest.approx(alone, abs=1e-6)


def test_decisions_are_those_of_raw_scores(detector: Detector) -> None:
    found = detector(picture(1))
    for value, alarm in ((found.raw_score, True), (np.nextafter(found.raw_score, np.inf), False)):
        rule = Threshold(float(value), "fixed", "")
        same = Detector.calibrate(detector.model, [picture(1)], rule=rule)(picture(1))
        assert same.alarm is alarm and (same.score >= 0.5) is alarm


@pytest.mark.filterwarnings("ignore:images of 32 x 32 pixels")
def test_a_size_is_a_number_or_a_pair(part_model: FastFlow) -> None:
    for size in (32, [32, 32]):
        assert Detector.calibrate(part_model, [picture(1)], rule=3.0, size=size).size == (32, 32)
    with pytest.raises(DataError, match="size must be a whole number"):
        Detector.calibrate(part_model, [picture(1)], rule=3.0, size="32")


def test_a_device_that_is_not_there_is_named(detector: Detector) -> None:
    with pytest.raises(ArgumentError, match=r"device must be one of .* got 'gpu'"):
        detector.to("gpu")
    assert detector.to(torch.device("cpu")).model.device.type == "cpu"


def test_an_image_of_16_bits_that_does_not_fit_says_what_a_user_of_a_detector_can_do(detector: Detector) -> None:
    remedy = r"convert it to 8 bits, or give white_level \(--white-level\).* where .* the detector is trained"
    with pytest.raises(DataError, match=rf"above the white level 4095: {remedy}"):
        detector(np.full((40, 60), 5000, np.uint16))
    model = FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none").train()
    model.load_state_dict(detector.model.state_dict())
    of_8_bits = Detector.calibrate(model, [picture(1)], rule=3.0, size=SIZE)
    with pytest.raises(DataError, match=rf"has 16 bits, but no training image has.*: {remedy}"):
        of_8_bits(np.full((40, 60), 100, np.uint16))


def test_a_model_that_was_not_trained_is_refused() -> None:
    with pytest.raises(NotTrainedError):
        Detector.calibrate(FastFlow(Constant(0.0, 1.0), steps=1, hidden=4), [picture(0)])


def test_the_model_keeps_its_mode(part_model: FastFlow) -> None:
    assert not Detector.calibrate(part_model, [picture(0), picture(1)], rule=3.0).model.training
