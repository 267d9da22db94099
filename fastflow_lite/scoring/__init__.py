"""From latents to anomaly maps, from maps to one score an image, from scores to decisions and metrics.

A score is higher for more anomalous, always. This room works on tensors and arrays alone: it does not know models,
data sets or files.
"""

from fastflow_lite.scoring.maps import IMAGE_SCORES, MAPS, SCALE_WEIGHTS, ReadoutSettings, anomaly_map, image_score
from fastflow_lite.scoring.metrics import (
    aupro,
    auroc,
    average_precision,
    bootstrap_interval,
    f1_max,
    image_metrics,
    pixel_metrics,
    pro_curve,
)
from fastflow_lite.scoring.pixel_iou import iou, mean_iou, mean_iou_oracle
from fastflow_lite.scoring.ranking import Ranking
from fastflow_lite.scoring.thresholds import Threshold

__all__ = [
    "IMAGE_SCORES",
    "MAPS",
    "SCALE_WEIGHTS",
    "Ranking",
    "ReadoutSettings",
    "Threshold",
    "anomaly_map",
    "aupro",
    "auroc",
    "average_precision",
    "bootstrap_interval",
    "f1_max",
    "image_metrics",
    "image_score",
    "iou",
    "mean_iou",
    "mean_iou_oracle",
    "pixel_metrics",
    "pro_curve",
]
