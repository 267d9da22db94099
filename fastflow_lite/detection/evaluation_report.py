"""What a detector did on labeled images, as lines for people and as a record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.detection.detector import Detector
from fastflow_lite.detection.detector_evaluation import DetectorEvaluation
from fastflow_lite.errors import printable
from fastflow_lite.evaluation.evaluator import describe_data
from fastflow_lite.evaluation.result import null_for_nan
from fastflow_lite.files import METRIC_TITLES, write_atomically

MOST_NAMES = 10  # of false alarms, and of missed defects


def decision_line(detector: Detector, labels: np.ndarray, alarms: np.ndarray) -> str:
    """Return how many false alarms the threshold raised and how many defects it missed.

    Args:
        detector: The detector that decided.
        labels: `(N,)` bool, True for an image with a defect.
        alarms: `(N,)` bool.
    """
    good, defects = int((~labels).sum()), int(labels.sum())
    promise = "" if detector.promised_rate is None else f", {100 * detector.promised_rate:.3g} % promised"
    false_alarms = f"{int(alarms[~labels].sum())} of {good} good images are false alarms{promise}"
    missed = f"{int((~alarms[labels]).sum())} of {defects} defects are missed"
    rule = f"threshold {detector.threshold.value:.4g} ({detector.threshold.strategy})"
    return "; ".join(
        [
            rule,
            false_alarms if good else "no image is known to be good, so false alarms are not counted",
            missed if defects else "no image is known to show a defect, so missed ones are not counted",
        ]
    )


def wrong_decisions(names: Sequence[str], labels: np.ndarray, alarms: np.ndarray) -> list[str]:
    """Return a line for each false alarm and each missed defect, of each at most `MOST_NAMES`."""
    lines = []
    for title, wrong in (("false alarm", alarms & ~labels), ("missed", labels & ~alarms)):
        found = np.flatnonzero(wrong)
        lines += [printable(f"{title}: {names[index]}") for index in found[:MOST_NAMES]]
        if len(found) > MOST_NAMES:
            lines.append(f"{title}: {len(found) - MOST_NAMES} more")
    return lines


def metrics_line(category: str, labels: np.ndarray, metrics: Mapping[str, float]) -> str:
    """Return the metrics that are defined, and why others are not."""
    shown = [name for name in METRIC_TITLES if "oracle" not in name and math.isfinite(metrics.get(name, math.nan))]
    numbers = [f"{METRIC_TITLES[name]} {metrics[name]:.3f}" for name in shown]
    if labels.all() or not labels.any():
        numbers.append(f"{int(labels.sum())} of {len(labels)} images show a defect, and metrics need both kinds")
    elif not math.isfinite(metrics["pixel_auroc"]):
        numbers.append("no metric of pixels, since defects have no masks")
    return printable(f"{category}: {', '.join(numbers)}")


def evaluation_record(
    detector: Detector, images: ImageSet, found: DetectorEvaluation, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an evaluation found, as JSON values; undefined numbers are null."""
    judged = zip(found.names, found.defects, found.scores, found.raw_scores, found.alarms, strict=True)
    record = {
        "parameters": dict(parameters),
        "data": describe_data(images),
        "model": detector.model.config.to_record(),
        "threshold": vars(detector.threshold) | {"promised_rate": detector.promised_rate},
        "metrics": found.metrics,
        "decisions": found.decisions,
        "images": [
            {"path": name, "defect": defect, "score": score, "raw_score": raw_score, "alarm": bool(alarm)}
            for name, defect, score, raw_score, alarm in judged
        ],
    }
    return null_for_nan(record)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    write_atomically(path, lambda place: place.write_text(json.dumps(record, indent=2) + "\n"))
