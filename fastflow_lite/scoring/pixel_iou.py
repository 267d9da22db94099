"""How well marked pixels cover the true defects: intersection over union, IoU, at one threshold for all images.

`mean_iou` takes a threshold that was set without these masks. `mean_iou_oracle` chooses it with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastflow_lite.errors import ArgumentError
from fastflow_lite.scoring.metrics import Images, paired_planes

CANDIDATES = 1000  # thresholds that the oracle tries


def iou(mask: ArrayLike, marked: ArrayLike) -> float:
    """Compute the pixels in both `mask` and `marked` by the pixels in at least one; nan if neither has any.

    Both are boolean and have the same shape.

    >>> iou([[True, True, False]], [[False, True, True]])
    0.3333333333333333
    """
    mask, marked = np.asarray(mask, bool), np.asarray(marked, bool)
    if mask.shape != marked.shape:
        raise ArgumentError(f"mask {mask.shape} but marked pixels {marked.shape}")
    union = np.count_nonzero(mask | marked)
    return float(np.count_nonzero(mask & marked) / union) if union else float("nan")


def mean_iou(masks: Images, maps: Images, threshold: float) -> float:
    """Compute the mean `iou` of the pixels `map >= threshold` over the images whose mask marks a defect.

    `masks` and `maps` are `(N, H, W)`, `(N, 1, H, W)` or lists of `(H, W)`. Normal images count nothing. Undefined
    (nan) without a defect, and for a `threshold` that is nan.

    >>> mean_iou([[[1, 1, 0]], [[0, 0, 0]]], [[[0.9, 0.2, 0.8]], [[0.9, 0.9, 0.9]]], threshold=0.5)
    0.3333333333333333
    """
    pairs = [(mask, values) for mask, values in zip(*paired_planes(masks, maps), strict=True) if mask.any()]
    if not pairs or np.isnan(threshold):
        return float("nan")
    return float(np.mean([iou(mask, values >= threshold) for mask, values in pairs]))


def mean_iou_oracle(masks: Images, maps: Images) -> tuple[float, float]:
    """Compute the best `mean_iou` of any threshold, and that threshold: an ORACLE, chosen with the test labels.

    An upper bound that a deployed system reaches only by luck. Between two scores of defective pixels a lower threshold
    marks more normal pixels only, so the best threshold is one of these scores. `CANDIDATES` of them are tried, evenly
    spaced in rank; with fewer defective pixels the result is exact. Inputs as `mean_iou`; (nan, nan) without a defect.

    >>> mean_iou_oracle([[[1, 1, 0]]], [[[0.9, 0.2, 0.8]]])
    (0.6666666666666666, 0.2)
    """
    pairs = [(mask, values) for mask, values in zip(*paired_planes(masks, maps), strict=True) if mask.any()]
    if not pairs:
        return float("nan"), float("nan")
    defective = np.sort(np.concatenate([values[mask.astype(bool)] for mask, values in pairs]))
    ranks = np.linspace(0, defective.size - 1, min(CANDIDATES, defective.size)).round().astype(int)
    candidates = defective[ranks]
    total = np.zeros(len(candidates))
    for mask, values in pairs:
        inside, everywhere = np.sort(values[mask.astype(bool)]), np.sort(values, axis=None)
        hits = inside.size - np.searchsorted(inside, candidates)
        total += hits / (everywhere.size - np.searchsorted(everywhere, candidates) + inside.size - hits)
    best = int(np.argmax(total))
    return float(total[best] / len(pairs)), float(candidates[best])
