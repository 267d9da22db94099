"""A detector that judges nothing, and findings with a bright square in the map, for tests of what shows findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tiny import Constant

from fastflow_lite import FastFlow
from fastflow_lite.detection import Calibration, Detector, Finding
from fastflow_lite.detection.scorer import Scorer
from fastflow_lite.scoring.thresholds import Threshold, conformal

SIZE = (48, 80)  # of the images
LEVEL = 0.3  # from which on a pixel belongs to a mask


def drawn_detector(threshold: Threshold | None = None, promised_rate: float | None = 0.05) -> Detector:
    """Return a detector with the raw scores 0 to 19 of normal images; its threshold is just above 19."""
    scores = np.arange(20.0)
    calibration = Calibration(scores, threshold or conformal(scores, 0.05), LEVEL, promised_rate)
    versions = {"fastflow_lite": "0.1.0", "torch": "2.10.0"}
    model = FastFlow(Constant(0.0, 1.0), steps=1, hidden=4)
    return Detector(Scorer(model, (32, 32)), calibration, "ab" * 32, versions)


def drawn_finding(name: str, score: float) -> Finding:
    """Return a finding whose map is `score` in a square of the trained size, and 0.1 elsewhere."""
    small = np.full((32, 32), 0.1, np.float32)
    small[8:16, 8:16] = score
    return Finding(name, score, 40 * score, score >= 0.5, SIZE, small, LEVEL)


def drawn_files(folder: Path, scores: Sequence[float], name: str = "part {}.png") -> list[Finding]:
    """Write an image for each score, brighter for higher ones, and return their findings."""
    findings = []
    for index, score in enumerate(scores):
        path = folder / name.format(index)
        Image.new("RGB", SIZE[::-1], (int(200 * score),) * 3).save(path)
        findings.append(drawn_finding(str(path), score))
    return findings
