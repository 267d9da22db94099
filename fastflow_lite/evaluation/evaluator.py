"""`evaluate`: a trained model on labeled images, by metrics, thresholds and kind of defect."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fastflow_lite.datasets import GOOD, ImageSet
from fastflow_lite.datasets.in_memory import ImageSource, TensorSet, as_labeled_set, as_normal_set
from fastflow_lite.errors import ArgumentError, DataError, check_whole
from fastflow_lite.evaluation.anomaly_model import AnomalyModel, TrainingHistory, size_in_mib
from fastflow_lite.evaluation.result import Result
from fastflow_lite.evaluation.scored_images import ScoredImages, score_images
from fastflow_lite.machine import describe_machine, peak_memory_mib
from fastflow_lite.scoring import metrics, thresholds
from fastflow_lite.scoring.pixel_iou import mean_iou, mean_iou_oracle
from fastflow_lite.scoring.ranking import Ranking
from fastflow_lite.scoring.thresholds import Threshold

NORMAL_PIXELS = 0.999  # the share of held-out normal pixels below the pixel threshold (benchmarks/README.md)
UNDEFINED = dict.fromkeys(("pixel_auroc", "pixel_ap", "pixel_f1_max_oracle", "aupro"), math.nan)  # without masks
MISSING = {  # why a threshold could not be set
    "fixed": "no fixed value given",
    "quantile": "no held-out normal images given",
    "best_f1": "the validation half lacks normal or anomalous images",
}


def evaluate(
    model: AnomalyModel,
    test: ImageSource,
    *,
    normal: ImageSource | None = None,
    fixed: float | None = None,
    quantile: float = 0.95,
    history: TrainingHistory | None = None,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int = 8,
    precision: str = "float32",
) -> Result:
    """Score `test` with every kind of map and evaluate the model's own (`model.map`).

    Args:
        model: A trained `FastFlow`, or a fitted baseline, which has one kind of map and no likelihood.
        test: Labeled images, an `ImageSet` or a Subset of one. Without any, `normal` still sets its thresholds, and
            every metric is nan.
        normal: Normal images not trained on, in any form that `fit` takes. They set the threshold `quantile` and, by
            the 99.9 % quantile of their pixels, `Result.pixel_threshold`, at which `Result.pixel_iou` is computed.
        fixed: A threshold from experience.
        quantile: Share of `normal` images that shall raise no alarm.
        history: The history of the training or fit, for the record.
        parameters: The parameters of the run, for the record.
        seed: Splits `test`, stratified by defect, into a validation half, which sets the threshold of the best F1,
            and the half on which all thresholds are compared.
        batch_size: Images in a pass.
        precision: "float32" or "bf16", the number format of the convolutions; in the record where it is not float32.

    Memory: one map and one mask of every image stay in the result; one map more is needed while the metrics are
    computed. The model is in the mode it was in (training or not) afterwards.

    Raises:
        ArgumentError: `quantile`, `fixed`, `seed`, `batch_size` or `precision` has a value that it cannot have.
        NotTrainedError: The model was never trained.
        DataError: There is no image, one of `normal` is a defect, or one cannot be read; the message names the file.
        DivergedError: A map is not finite.
    """
    if not 0 < quantile <= 1:
        raise ArgumentError(f"quantile must be above 0 and at most 1, got {quantile}")
    if fixed is not None and not math.isfinite(fixed):
        raise ArgumentError(f"fixed must be a finite number, got {fixed}")
    check_whole("seed", seed, 0)
    model.check_trained()
    test = as_labeled_set(test, "test")
    calibration, pixel_threshold = None, math.nan
    if normal is not None:
        calibration, pixel_threshold = _calibrate(model, as_normal_set(normal, "normal"), batch_size, precision)
    elif not len(test):
        raise DataError(f"there are no images to score below {test.root}")
    scored = score_images(model, test, batch_size=batch_size, precision=precision)
    began = time.monotonic()
    masks, own_scores = scored.masks if test.has_masks else None, scored.scores[model.map]
    variants, maps = _variants(model.map, test.labels, scored, masks)
    overlap = _overlap(masks, maps, pixel_threshold)
    rules, rows = compare_thresholds(test, own_scores, calibration, fixed, quantile, seed)
    per_defect = _per_defect(test, own_scores, masks, maps)
    seconds = {"scoring": scored.seconds, "metrics": time.monotonic() - began}
    return Result(
        record={
            "parameters": dict(parameters or {}),
            "data": describe_data(test),
            "model": model.config.to_record(),
            "weights": asdict(model.backbone.weights_info),
            "training": history.to_record() if history else None,
            "epochs": history.epochs if history else None,
            "metrics": variants[model.map] | overlap | {"test_bits_per_dim": scored.bits_per_dim},
            "variants": variants,
            "per_defect": per_defect,
            "thresholds": rows,
            "pixel_threshold": pixel_threshold,
            "seconds": (history.seconds if history else {}) | seconds,
            "peak_memory_mib": peak_memory_mib(),
            "size_mib": size_in_mib(model),
            "machine": describe_machine(model.device) | ({} if precision == "float32" else {"precision": precision}),
        },
        labels=test.labels,
        defects=test.defects,
        maps=maps,
        scores=own_scores,
        masks=scored.masks,
        thresholds=rules,
    )


def compare_thresholds(
    test: ImageSet,
    scores: np.ndarray,
    calibration: np.ndarray | None,
    fixed: float | None,
    quantile: float,
    seed: int,
) -> tuple[list[Threshold], list[dict[str, Any]]]:
    """Set a threshold by each strategy that is possible; return them, and a row for each of the three strategies.

    `scores` `(N,)` are those of `test`, `calibration` those of held-out normal images. All rows are of the same half
    of `test`, which set none of the thresholds.
    """
    validation, rest = split_by_file(test, seed)
    rules: dict[str, Threshold] = {}
    if fixed is not None:
        rules["fixed"] = thresholds.fixed(fixed)
    if calibration is not None:
        rules["quantile"] = thresholds.quantile(calibration, quantile)
    if 0 < test.labels[validation].sum() < len(validation):
        rules["best_f1"] = thresholds.best_f1(test.labels[validation], scores[validation])
    rows = thresholds.report(test.labels[rest], scores[rest], list(rules.values()))
    set_rows: dict[Any, dict[str, Any]] = {row["strategy"]: row for row in rows}
    missing = {name: {"strategy": name, "value": None, "note": note} for name, note in MISSING.items()}
    return list(rules.values()), [set_rows.get(name, missing[name]) for name in MISSING]


def split_by_file(test: ImageSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the validation half of `test` and of the rest; all tiles of one image file are in one part."""
    files: dict[Path, list[int]] = {}
    for index, sample in enumerate(test.samples):
        files.setdefault(sample.image, []).append(index)
    kinds = [next((test.defects[k] for k in tiles if test.labels[k]), GOOD) for tiles in files.values()]
    parts = thresholds.split_validation([kind != GOOD for kind in kinds], 0.5, seed, kinds)
    tiles = list(files.values())
    validation, rest = (np.array([index for file in part for index in tiles[file]], dtype=int) for part in parts)
    return validation, rest


def _calibrate(
    model: AnomalyModel, normal: ImageSet | TensorSet, batch_size: int, precision: str
) -> tuple[np.ndarray, float]:
    """Return the scores of held-out normal images, and the level that `NORMAL_PIXELS` of their pixels do not exceed."""
    known = score_images(model, normal, (model.map,), batch_size, precision)
    level = np.quantile(known.maps[model.map], NORMAL_PIXELS, overwrite_input=True)  # else it copies all maps
    return known.scores[model.map], float(level)


def _variants(
    own: str, labels: np.ndarray, scored: ScoredImages, masks: np.ndarray | None
) -> tuple[dict[str, dict[str, float]], np.ndarray]:
    """Return the metrics of every kind of map, and the maps of the model's `own` kind, with one kind in memory."""
    found = {
        kind: _metrics(labels, scored.scores[kind], masks, scored.maps[kind] if masks is not None else None)
        for kind in scored.maps
        if kind != own
    }
    maps = scored.maps[own]
    found[own] = _metrics(labels, scored.scores[own], masks, maps)
    return {kind: found[kind] for kind in scored.maps}, maps


def _metrics(
    labels: np.ndarray, scores: np.ndarray, masks: np.ndarray | None, maps: np.ndarray | None
) -> dict[str, float]:
    pixel = metrics.pixel_metrics(masks, maps) if masks is not None and maps is not None else UNDEFINED
    return metrics.image_metrics(labels, scores) | pixel


def _overlap(masks: np.ndarray | None, maps: np.ndarray, pixel_threshold: float) -> dict[str, float]:
    """Compute the mean IoU of the defective images, at the threshold of normal pixels and at the best of all."""
    if masks is None:
        return {"pixel_iou": math.nan, "pixel_iou_oracle": math.nan}
    return {"pixel_iou": mean_iou(masks, maps, pixel_threshold), "pixel_iou_oracle": mean_iou_oracle(masks, maps)[0]}


def _per_defect(test: ImageSet, scores: np.ndarray, masks: np.ndarray | None, maps: np.ndarray) -> list[dict[str, Any]]:
    """Compare each kind of defect with all good images, by images and by the pixels of both."""
    rows = []
    defects = np.array(test.defects)
    for kind in sorted(set(test.defects) - {GOOD}):
        chosen = np.flatnonzero((defects == kind) | (defects == GOOD))
        row = {"defect": kind, "images": int((defects == kind).sum())}
        row["image_auroc"] = metrics.auroc(test.labels[chosen], scores[chosen])
        row["pixel_auroc"] = math.nan
        if masks is not None:  # views of single images: a copy of the chosen maps could be as large as all
            row["pixel_auroc"] = Ranking.of_parts([masks[k] for k in chosen], [maps[k] for k in chosen]).auroc()
        row["area_percent"] = float(100 * masks[defects == kind].mean()) if masks is not None else math.nan
        rows.append(row)
    return rows


def describe_data(test: ImageSet) -> dict[str, Any]:
    """Return what a record keeps of the labeled images, as JSON values."""
    return {
        "category": test.category,
        "test_images": len(test),
        "test_anomalous": int(test.labels.sum()),
        "image_size": list(test.size),
        "test_sha256": test.fingerprint(),
    }
