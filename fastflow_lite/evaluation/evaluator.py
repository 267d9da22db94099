"""A trained model on labeled images: scores, metrics, thresholds and the result record."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastflow_lite.datasets.image_set import GOOD, ImageSet
from fastflow_lite.errors import DataError
from fastflow_lite.files import write_atomically
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.machine import describe_machine, peak_memory_mib
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring import maps as scores
from fastflow_lite.scoring import metrics, thresholds
from fastflow_lite.scoring.thresholds import Threshold
from fastflow_lite.training.history import History

# From experience: where the scores of held-out normal images of the toy set's `weave` ended (95 % quantile
# -0.30 with bundled weights, seed 0; -0.08 with those before). No such value for the other maps.
FIXED = {"tempered": -0.30}
NORMAL_PIXELS = 0.995  # a pixel stands out when it is higher than this share of held-out normal pixels


@dataclass
class Scored:
    """What a model says about `N` images: maps `(N, H, W)` float32 and scores `(N,)` for each map kind."""

    maps: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    masks: np.ndarray
    bits_per_dim: float
    seconds: float


@dataclass
class Result:
    """An evaluation: the numbers of the record as attributes, and the arrays they come from.

    `image_auroc`, `pixel_auroc`, `aupro`, ... are those of the model's own map; `variants` has every
    map's. Undefined numbers (no masks, one class only) are nan, and null in JSON.
    """

    record: dict[str, Any]
    labels: np.ndarray
    defects: list[str]
    maps: np.ndarray
    scores: np.ndarray
    masks: np.ndarray
    thresholds: list[Threshold]
    pixel_threshold: float = math.nan
    variants: dict[str, dict[str, float]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        metrics_found = self.__dict__.get("record", {}).get("metrics", {})
        if name in metrics_found:
            return metrics_found[name]
        raise AttributeError(f"a result has no {name!r}; its metrics are {', '.join(metrics_found)}")

    def to_json(self, path: str | Path | None = None) -> str:
        """The record as JSON text, also written to `path` if given."""
        text = json.dumps(_null_for_nan(self.record), indent=2)
        if path is not None:
            write_atomically(Path(path), lambda place: place.write_text(text + "\n"))
        return text


@torch.inference_mode()
def score_images(
    model: FastFlow, images: ImageSet, kinds: Sequence[str] = tuple(scores.MAPS), batch_size: int = 8
) -> Scored:
    """Run `model` once over `images` and make every kind of map from the same latents."""
    began = time.monotonic()
    model.check_trained()
    model.eval()
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    image_scores: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    masks, nats = [], 0.0
    prepared = model.prepared_for_inference()
    for batch, batch_masks in images.batches(batch_size):
        outputs = prepared(batch)
        nats += nats_per_dim(outputs).item() * len(batch)
        masks.append(batch_masks.numpy())
        for kind in kinds:
            maps = model.anomaly_map(outputs, images.size, kind)
            found[kind].append(maps[:, 0].float().cpu().numpy())
            image_scores[kind].append(scores.image_score(maps, model.image_score).float().cpu().numpy())
    if not masks:
        raise DataError(f"there are no images to score below {images.root}")
    if wild := [kind for kind in kinds if not all(np.isfinite(part).all() for part in found[kind])]:
        raise FloatingPointError(
            f"the maps {', '.join(wild)} are not finite: the training diverged. Lower lr or clamp, or normalize='layer'"
        )
    return Scored(
        maps={kind: np.concatenate(parts) for kind, parts in found.items()},
        scores={kind: np.concatenate(parts) for kind, parts in image_scores.items()},
        masks=np.concatenate(masks),
        bits_per_dim=bits(nats / len(images)),
        seconds=time.monotonic() - began,
    )


def evaluate(
    model: FastFlow,
    test: ImageSet,
    *,
    normal: ImageSet | None = None,
    fixed: float | None = None,
    quantile: float = 0.95,
    history: History | None = None,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int = 8,
) -> Result:
    """Score `test` with every kind of map and judge the model's own (`model.map`).

    Three thresholds stand side by side, all judged on one half of `test` that set none of them: `fixed`
    (default: `FIXED`), the `quantile` of `normal` images not trained on, and the best F1 on the other half,
    which plays the labeled validation set (split by `seed`, stratified by defect). For single pixels,
    `pixel_threshold` is the 99.5 % quantile of the pixels of `normal`. `history` and `parameters` go into
    the record. DataError names a file that cannot be used.
    """
    scored = score_images(model, test, batch_size=batch_size)
    known = score_images(model, normal, (model.map,), batch_size) if normal else None
    calibration = known.scores[model.map] if known else None
    pixel_threshold = float(np.quantile(known.maps[model.map], NORMAL_PIXELS)) if known else math.nan
    began = time.monotonic()
    masks = scored.masks if test.has_masks else None
    variants = {k: _metrics(test.labels, scored.scores[k], masks, scored.maps[k]) for k in scored.maps}
    own = scored.scores[model.map]
    rules, judged = judge_thresholds(
        test, own, calibration, FIXED.get(model.map) if fixed is None else fixed, quantile, seed
    )
    maps = scored.maps[model.map]
    seconds = {"scoring": scored.seconds, "metrics": time.monotonic() - began}
    record = {
        "parameters": dict(parameters or {}),
        "data": _describe_data(test),
        "model": model.config.to_record(),
        "weights": asdict(model.backbone.weights_info),
        "training": asdict(history) if history else None,
        "epochs": history.epochs if history else None,
        "metrics": variants[model.map] | {"test_bits_per_dim": scored.bits_per_dim},
        "variants": variants,
        "per_defect": _per_defect(test, own, masks, maps),
        "thresholds": judged,
        "pixel_threshold": pixel_threshold,
        "seconds": (history.seconds if history else {}) | seconds,
        "peak_memory_mib": peak_memory_mib(),
        "machine": describe_machine(model.device),
    }
    return Result(record, test.labels, test.defects, maps, own, scored.masks, rules, pixel_threshold, variants)


def _metrics(
    labels: np.ndarray, image_scores: np.ndarray, masks: np.ndarray | None, maps: np.ndarray
) -> dict[str, float]:
    pixel = metrics.pixel_metrics(masks, maps) if masks is not None else {}
    undefined = dict.fromkeys(("pixel_auroc", "pixel_ap", "pixel_f1_max_oracle", "aupro"), math.nan)
    return metrics.image_metrics(labels, image_scores) | undefined | pixel


def judge_thresholds(
    test: ImageSet,
    image_scores: np.ndarray,
    calibration: np.ndarray | None,
    fixed: float | None,
    quantile: float,
    seed: int,
) -> tuple[list[Threshold], list[dict[str, Any]]]:
    """The thresholds that can be set, and a row for each of the three ways, judged on the same images."""
    validation, judge = thresholds.split_validation(test.labels, 0.5, seed, test.defects)
    rules: dict[str, Threshold] = {}
    if fixed is not None:
        rules["fixed"] = thresholds.fixed(fixed)
    if calibration is not None:
        rules["quantile"] = thresholds.quantile(calibration, quantile)
    if 0 < test.labels[validation].sum() < len(validation):
        rules["best_f1"] = thresholds.best_f1(test.labels[validation], image_scores[validation])
    rows = thresholds.report(test.labels[judge], image_scores[judge], list(rules.values()))
    why = {
        "fixed": "no fixed value given, and this map has no natural one",
        "quantile": "no held-out normal images given",
        "best_f1": "the validation half lacks normal or anomalous images",
    }
    missing = [{"strategy": name, "value": None, "note": why[name]} for name in why if name not in rules]
    return list(rules.values()), rows + missing


def _per_defect(
    test: ImageSet, image_scores: np.ndarray, masks: np.ndarray | None, maps: np.ndarray
) -> list[dict[str, Any]]:
    """Each kind of defect against all good images; `pixel_auroc` within that kind's and the good images."""
    rows = []
    defects = np.array(test.defects)
    for kind in sorted(set(test.defects) - {GOOD}):
        chosen = (defects == kind) | (defects == GOOD)
        row = {"defect": kind, "images": int((defects == kind).sum())}
        row["image_auroc"] = metrics.auroc(test.labels[chosen], image_scores[chosen])
        row["pixel_auroc"] = metrics.auroc(masks[chosen], maps[chosen]) if masks is not None else math.nan
        row["area_percent"] = float(100 * masks[defects == kind].mean()) if masks is not None else math.nan
        rows.append(row)
    return rows


def _describe_data(test: ImageSet) -> dict[str, Any]:
    return {
        "category": test.category,
        "test_images": len(test),
        "test_anomalous": int(test.labels.sum()),
        "image_size": list(test.size),
        "test_sha256": test.fingerprint(),
    }


def _null_for_nan(value: Any) -> Any:
    """JSON has no NaN: undefined numbers become null."""
    if isinstance(value, Mapping):
        return {key: _null_for_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
