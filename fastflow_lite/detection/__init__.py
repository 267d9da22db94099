"""A trained model at work: `Detector`, its findings, large images in tiles, exported files, report, log and drift.

This room does not know the course or batches of notebooks.
"""

from fastflow_lite.detection.calibration import Calibration
from fastflow_lite.detection.detector import Detector
from fastflow_lite.detection.detector_evaluation import DetectorEvaluation, evaluate_detector
from fastflow_lite.detection.drift import Drift
from fastflow_lite.detection.export import export_program, read_metadata, run_exported
from fastflow_lite.detection.finding import Finding, Region
from fastflow_lite.detection.report import Report
from fastflow_lite.detection.run_log import RunLog, read_log
from fastflow_lite.detection.score_scale import ScoreScale
from fastflow_lite.detection.tiled_set import TiledSet, full_size
from fastflow_lite.detection.tiling import cut_tiles, join_tiles, predict_tiled, tile_corners, tile_starts

__all__ = [
    "Calibration",
    "Detector",
    "DetectorEvaluation",
    "Drift",
    "Finding",
    "Region",
    "Report",
    "RunLog",
    "ScoreScale",
    "TiledSet",
    "cut_tiles",
    "evaluate_detector",
    "export_program",
    "full_size",
    "join_tiles",
    "predict_tiled",
    "read_log",
    "read_metadata",
    "run_exported",
    "tile_corners",
    "tile_starts",
]
