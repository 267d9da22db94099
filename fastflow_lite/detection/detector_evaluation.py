"""A detector on labeled images: what its decisions cost, on whole images at their own size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastflow_lite.datasets.image_set import read_sample_mask
from fastflow_lite.datasets.in_memory import ImageSource, as_labeled_set
from fastflow_lite.detection.detector import Detector
from fastflow_lite.detection.finding import Finding
from fastflow_lite.detection.ignored_region import at_size
from fastflow_lite.detection.pixel_sample import PixelSample
from fastflow_lite.errors import DataError
from fastflow_lite.scoring import metrics, thresholds
from fastflow_lite.scoring.pixel_iou import iou
from fastflow_lite.scoring.ranking import Ranking

MOST_PIXELS = 2**26  # of all images, that pixel metrics are computed from: 83 images of 900 x 900


@dataclass(frozen=True)
class DetectorEvaluation:
    """Decisions and scores of `N` labeled images.

    Attributes:
        names: The path of each image.
        defects: The kind of defect of each, "good" for normal ones.
        labels: `(N,)` bool, True for anomalous.
        raw_scores: `(N,)` float64, in the unit of the model's map.
        scores: `(N,)` float64, 0 to 1.
        alarms: `(N,)` bool.
        decisions: Precision, recall, F1, rate of false alarms and accuracy of the detector's threshold.
        metrics: Image and pixel metrics, `pixel_iou` at the detector's pixel threshold; nan for those that need a class
            or masks that are not there.
        pixel_step: Every so many pixels, one is in the pixel metrics; 1 where there are at most `MOST_PIXELS`.
    """

    names: list[str]
    defects: list[str]
    labels: np.ndarray
    raw_scores: np.ndarray
    scores: np.ndarray
    alarms: np.ndarray
    decisions: dict[str, Any]
    metrics: dict[str, float]
    pixel_step: int

    def to_record(self) -> dict[str, Any]:
        """Return JSON values."""
        arrays = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return vars(self) | arrays


def evaluate_detector(
    detector: Detector, images: ImageSource, on_finding: Callable[[Finding], object] | None = None
) -> DetectorEvaluation:
    """Judge labeled images and compare with labels and masks, each image whole and at its own size.

    `images` are an `ImageSet` or a Subset of one. `on_finding` is called with each finding in turn. One image's map and
    mask are in memory at a time, and a bounded number of pixels of all. Pixels that the detector ignores are in no
    pixel metric. DataError if there is no image or one cannot be used.
    """
    images = as_labeled_set(images, "images")
    if not len(images):
        raise DataError(f"there are no images to judge below {images.root}")
    maps, masks = PixelSample(MOST_PIXELS), PixelSample(MOST_PIXELS)
    raw, scores, alarms = [], [], []
    overlaps: list[float] = []  # of the defective images
    findings = detector.findings(images)
    for sample in images.samples:
        finding = next(findings)
        raw.append(finding.raw_score)
        scores.append(finding.score)
        alarms.append(finding.alarm)
        if images.has_masks:
            counted = None if detector.ignore is None else ~at_size(detector.ignore, finding.size)
            mask = read_sample_mask(sample, finding.size).numpy()
            masks.add(mask, counted)
            maps.add(finding.map, counted)
            overlaps += _overlap(mask, finding.mask, counted)
        if on_finding is not None:
            on_finding(finding)
        del finding  # its map, before that of the next image is computed; zip would keep it
    raw_scores, threshold = np.asarray(raw, np.float64), detector.threshold
    pixels = dict.fromkeys(("pixel_auroc", "pixel_ap", "pixel_iou"), math.nan)
    if images.has_masks:
        ranking = Ranking.of(masks.values(), maps.values())
        pixels = {"pixel_auroc": ranking.auroc(), "pixel_ap": ranking.average_precision()}
        pixels["pixel_iou"] = float(np.mean(overlaps)) if overlaps else math.nan
    return DetectorEvaluation(
        names=[str(sample.image) for sample in images.samples],
        defects=images.defects,
        labels=images.labels,
        raw_scores=raw_scores,
        scores=np.asarray(scores, np.float64),
        alarms=np.asarray(alarms, bool),
        decisions=dict(thresholds.report(images.labels, raw_scores, [threshold])[0]),
        metrics=metrics.image_metrics(images.labels, raw_scores) | pixels,
        pixel_step=maps.step,
    )


def _overlap(mask: np.ndarray, marked: np.ndarray, counted: np.ndarray | None) -> list[float]:
    """Return the IoU of a mask `(H, W)` and marked pixels among those that are counted; nothing without a defect."""
    if counted is not None:
        mask, marked = mask[counted], marked[counted]
    return [iou(mask, marked)] if mask.any() else []
