"""What is said about decisions: counts, names, and what is not known."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from fastflow_lite.datasets import open_dataset
from fastflow_lite.detection import Detector, evaluate_detector
from fastflow_lite.detection.evaluation_report import (
    decision_line,
    evaluation_record,
    metrics_line,
    write_json,
    wrong_decisions,
)
from fastflow_lite.scoring.thresholds import Threshold

LABELS = np.array([False, False, False, True, True])
ALARMS = np.array([True, False, False, True, False])


@dataclass(frozen=True)
class Decider:
    """Of a detector, what the line about its decisions needs."""

    promised_rate: float | None = 0.05
    threshold: Threshold = field(default_factory=lambda: Threshold(-0.25, "conformal", ""))


def test_the_counts_are_those_of_both_kinds() -> None:
    assert decision_line(Decider(), LABELS, ALARMS) == (
        "threshold -0.25 (conformal); 1 of 3 good images are false alarms, 5 % promised; 1 of 2 defects are missed"
    )
    assert "promised" not in decision_line(Decider(None), LABELS, ALARMS)


@pytest.mark.parametrize(
    ("kept", "unknown"), [([0, 1], "no image is known to show a defect"), ([3, 4], "no image is known to be good")]
)
def test_what_is_not_there_is_not_counted(kept: list[int], unknown: str) -> None:
    line = decision_line(Decider(), LABELS[kept], ALARMS[kept])
    assert unknown in line and "0 of 0" not in line


def test_wrong_decisions_are_named_and_the_rest_counted() -> None:
    names = [f"{k}.png" for k in range(5)]
    assert wrong_decisions(names, LABELS, ALARMS) == ["false alarm: 0.png", "missed: 4.png"]
    many = wrong_decisions([f"{k}\x1b.png" for k in range(12)], np.ones(12, bool), np.zeros(12, bool))
    assert many[0] == "missed: 0\\x1b.png" and many[10:] == ["missed: 2 more"]
    ten = wrong_decisions([f"{k}.png" for k in range(10)], np.ones(10, bool), np.zeros(10, bool))
    assert ten[-1] == "missed: 9.png" and len(ten) == 10


def test_undefined_metrics_have_a_reason() -> None:
    nan = float("nan")
    line = metrics_line("part", LABELS, {"image_auroc": 0.75, "image_ap": 0.5, "pixel_auroc": nan, "pixel_ap": nan})
    assert line == "part: image AUROC 0.750, image AP 0.500, no metric of pixels, since defects have no masks"
    line = metrics_line("part", LABELS[:3], dict.fromkeys(("image_auroc", "image_ap", "pixel_auroc", "pixel_ap"), nan))
    assert line == "part: 0 of 3 images show a defect, and metrics need both kinds"


def test_the_record_holds_every_decision(detector_file: Path, category: Path, tmp_path: Path) -> None:
    detector, images = Detector.load(detector_file), open_dataset(category, image_size=64).test.subset([0, 1])
    found = evaluate_detector(detector, images)
    write_json(tmp_path / "r.json", evaluation_record(detector, images, found, {"folder": "x"}))
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["metrics"]["image_auroc"] is None and record["data"]["test_images"] == 2
    assert [row["alarm"] for row in record["images"]] == found.alarms.tolist()
    assert record["threshold"]["value"] == detector.threshold.value
