"""A detector on labeled images: labels, decisions and pixels of the same images."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import Constant, started
from torch.utils.data import Subset

from fastflow_lite import FastFlow
from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector, Finding, detector_evaluation, evaluate_detector
from fastflow_lite.detection.ignored_region import at_size
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.scoring.metrics import auroc
from fastflow_lite.scoring.pixel_iou import iou


@pytest.fixture
def judge(category: Path) -> Detector:
    """A detector of squares in the pictures of `category`."""
    model = started(FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none"))
    model.input_format = InputFormat((64, 48))
    return Detector.calibrate(model.eval(), open_dataset(category).train, alpha=0.2)


def test_a_data_is_told_from_its_images(category: Path, judge: Detector) -> None:
    data = open_dataset(category)
    with pytest.raises(ArgumentError, match=r"images must be an ImageSet, got Data: give data\.test"):
        evaluate_detector(judge, data)  # type: ignore[arg-type]
    assert evaluate_detector(judge, Subset(data.test, [5, 0])).labels.tolist() == [True, False]


def test_decisions_and_metrics_are_those_of_the_findings(category: Path, judge: Detector) -> None:
    test, found = open_dataset(category).test, []
    evaluation = evaluate_detector(judge, test, found.append)
    assert isinstance(found[0], Finding) and evaluation.names == [one.name for one in found]
    assert evaluation.labels.tolist() == [False] * 3 + [True] * 3
    assert evaluation.raw_scores.tolist() == [one.raw_score for one in found]
    assert evaluation.alarms.tolist() == [one.alarm for one in found]
    assert evaluation.decisions["value"] == judge.threshold.value
    assert evaluation.metrics["image_auroc"] == auroc(test.labels, evaluation.raw_scores)
    masks = [mask.numpy() for _, mask in (open_dataset(category, image_size=(64, 48)).test[k] for k in range(6))]
    maps = [one.map for one in found]
    assert maps[0].shape == (64, 48)
    assert evaluation.metrics["pixel_auroc"] == pytest.approx(auroc(masks, maps))
    overlaps = [iou(masks[k], found[k].mask) for k in (3, 4, 5)]
    assert evaluation.metrics["pixel_iou"] == pytest.approx(np.mean(overlaps)) and min(overlaps) > 0
    assert evaluation.to_record()["labels"] == [False] * 3 + [True] * 3


def test_many_pixels_are_sampled(category: Path, judge: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    test = open_dataset(category).test
    exact = evaluate_detector(judge, test).metrics["pixel_auroc"]
    monkeypatch.setattr(detector_evaluation, "MOST_PIXELS", 5000)
    sampled = evaluate_detector(judge, test)
    assert sampled.pixel_step == 4
    assert sampled.metrics["pixel_auroc"] == pytest.approx(exact, abs=0.05) and exact > 0.5


def test_ignored_pixels_are_in_no_pixel_metric(category: Path, judge: Detector) -> None:
    test = open_dataset(category, image_size=(64, 48)).test
    ignore = np.zeros((8, 6), bool)
    ignore[:, 3:] = True
    part = Detector.calibrate(judge.model, open_dataset(category).train, alpha=0.2, ignore=ignore)
    found: list[Finding] = []
    metrics = evaluate_detector(part, test, found.append).metrics
    metric = metrics["pixel_auroc"]
    counted = ~at_size(ignore, (64, 48))
    masks, maps = [test[k][1].numpy()[counted] for k in range(6)], [one.map[counted] for one in found]
    assert metric == pytest.approx(auroc(masks, maps), nan_ok=True)
    overlaps = [iou(masks[k], found[k].mask[counted]) for k in range(6) if masks[k].any()]
    assert metrics["pixel_iou"] == pytest.approx(np.mean(overlaps))


def test_without_masks_there_are_image_metrics_alone(category: Path, judge: Detector) -> None:
    shutil.rmtree(category / "ground_truth")
    metrics = evaluate_detector(judge, open_dataset(category).test).metrics
    assert math.isnan(metrics["pixel_auroc"]) and math.isnan(metrics["pixel_iou"])
    assert not math.isnan(metrics["image_auroc"])
    with pytest.raises(DataError, match="no images to judge"):
        evaluate_detector(judge, open_dataset(category).test.subset([]))
