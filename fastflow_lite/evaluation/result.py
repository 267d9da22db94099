"""The result of an evaluation: one record, its numbers as attributes, and the arrays they were computed from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from fastflow_lite.files import write_atomically
from fastflow_lite.scoring.thresholds import Threshold


class Record(TypedDict):
    """What `result.json` holds. Undefined numbers are nan here and null in the file."""

    parameters: dict[str, Any]
    data: dict[str, Any]  # category, image counts, image size, fingerprint
    model: dict[str, Any]  # the configuration's to_record()
    weights: dict[str, str]  # source, description, sha256
    training: dict[str, Any] | None  # the history of the training, where it was given
    epochs: int | None
    metrics: dict[str, float]  # of the model's own map
    variants: dict[str, dict[str, float]]  # of every kind of map
    per_defect: list[dict[str, Any]]
    thresholds: list[dict[str, Any]]
    pixel_threshold: float
    seconds: dict[str, float]
    peak_memory_mib: dict[str, float]
    size_mib: dict[str, float]  # backbone, learned, file
    machine: dict[str, Any]  # and the precision of the scores, where it is not float32


@dataclass
class Result:
    """An evaluation of `N` images.

    Attributes:
        record: What `to_json` writes.
        labels: `(N,)` bool, True for anomalous.
        defects: The kind of each image, "good" for normal ones.
        maps: Anomaly maps `(N, H, W)` of the model's own kind.
        scores: Image scores `(N,)`.
        masks: True defects `(N, H, W)` bool.
        thresholds: The thresholds that could be set.

    The metrics are those of the model's own map; `variants` has every map's. An undefined metric (no masks, one class
    only) is nan.
    """

    record: Record
    labels: np.ndarray
    defects: list[str]
    maps: np.ndarray
    scores: np.ndarray
    masks: np.ndarray
    thresholds: list[Threshold]

    @property
    def image_auroc(self) -> float:
        """Area under the ROC curve over images."""
        return self.record["metrics"]["image_auroc"]

    @property
    def image_ap(self) -> float:
        """Average precision over images."""
        return self.record["metrics"]["image_ap"]

    @property
    def image_f1_max_oracle(self) -> float:
        """Best F1 of any threshold over images, chosen with the test labels."""
        return self.record["metrics"]["image_f1_max_oracle"]

    @property
    def pixel_auroc(self) -> float:
        """Area under the ROC curve over all pixels."""
        return self.record["metrics"]["pixel_auroc"]

    @property
    def pixel_ap(self) -> float:
        """Average precision over all pixels."""
        return self.record["metrics"]["pixel_ap"]

    @property
    def pixel_f1_max_oracle(self) -> float:
        """Best F1 of any threshold over all pixels, chosen with the test labels."""
        return self.record["metrics"]["pixel_f1_max_oracle"]

    @property
    def pixel_iou(self) -> float:
        """Mean IoU of the defective images at `pixel_threshold`, which no test label set; nan without it."""
        return self.record["metrics"]["pixel_iou"]

    @property
    def pixel_iou_oracle(self) -> float:
        """Mean IoU of the defective images at the best threshold, chosen with the test labels."""
        return self.record["metrics"]["pixel_iou_oracle"]

    @property
    def aupro(self) -> float:
        """Area under the per-region overlap curve up to a false positive rate of 0.3."""
        return self.record["metrics"]["aupro"]

    @property
    def test_bits_per_dim(self) -> float:
        """Negative log-likelihood of the test images, in bits per dimension."""
        return self.record["metrics"]["test_bits_per_dim"]

    @property
    def variants(self) -> dict[str, dict[str, float]]:
        """The metrics of every kind of map."""
        return self.record["variants"]

    @property
    def pixel_threshold(self) -> float:
        """Level of a map above which a pixel stands out, from held-out normal images; nan without them."""
        return self.record["pixel_threshold"]

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the record as JSON text; also write it to `path` if given."""
        text = json.dumps(null_for_nan(self.record), indent=2)
        if path is not None:
            write_atomically(Path(path), lambda place: place.write_text(text + "\n"))
        return text


def null_for_nan(value: Any) -> Any:
    """Replace undefined numbers by None, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: null_for_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
