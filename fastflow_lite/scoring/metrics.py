"""How well anomaly scores separate normal from anomalous, per image and per pixel.

A score is higher for more anomalous, always. Every metric ranks scores, so none needs a threshold
and none changes when all scores pass through one increasing function. With only one class in the
labels a metric is undefined: the result is nan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastflow_lite.errors import ArgumentError
from fastflow_lite.scoring.ranking import Ranking

Images = np.ndarray | Sequence[ArrayLike]  # (N, H, W), (N, 1, H, W), or a list of (H, W)
EIGHT_NEIGHBORS = np.ones((3, 3), dtype=int)
PRO_LIMIT = 0.3  # the false positive rate up to which AUPRO is integrated, as MVTec's authors do


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Compute the chance that an anomalous score is above a normal one, ties counting half (area under ROC).

    `labels` (0 normal, 1 anomalous) and `scores` share any one shape: `(N,)` for images,
    `(N, H, W)` for pixels, which are pooled. Undefined (nan) with one class only.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return Ranking.of(labels, scores).auroc()


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Compute the precision averaged over the steps of recall (no trapezoids); shapes as `auroc`.

    Unlike AUROC it sees class balance: chance level is the share of anomalous labels. Undefined
    (nan) with one class only.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return Ranking.of(labels, scores).average_precision()


def f1_max(labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Compute the best F1 of any threshold, and that threshold: an ORACLE, shapes as `auroc`.

    It chooses the threshold with the test labels: an upper bound that a deployed system reaches
    only by luck. `thresholds.py` has the honest ways. The rule is `score >= threshold`, among equal
    F1 the lowest threshold wins. Undefined (nan, nan) with one class only.

    >>> f1_max([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    (0.8, 0.35)
    """
    return Ranking.of(labels, scores).f1_max()


def pro_curve(masks: Images, maps: Images) -> tuple[np.ndarray, np.ndarray]:
    """Compute `(fpr, pro)`: false positive rate and per-region overlap, a piecewise linear curve from (0, 0) to (1, 1).

    `masks` and `maps` are `(N, H, W)`, `(N, 1, H, W)` or lists of `(H, W)` of any sizes. A region
    is an 8-connected component of one mask. At each threshold `pro` is the covered fraction of a
    region, averaged over all regions, so a small defect counts as much as a large one; `fpr` is
    taken over all normal pixels of all images. The points are the curve's corners. Without a normal or an anomalous
    pixel both are the single point nan. Source: Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021.

    >>> fpr, pro = pro_curve([[[1, 0, 0, 1]]], [[[0.9, 0.5, 0.2, 0.2]]])
    >>> fpr.tolist(), pro.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0])
    """
    masks, maps = paired_planes(masks, maps)
    return _pro_curve(Ranking.of_parts(masks, maps), masks)


def aupro(masks: Images, maps: Images, fpr_limit: float = PRO_LIMIT) -> float:
    """Compute the area under `pro_curve` up to `fpr_limit`, divided by it: 1 is perfect, limit / 2 is chance.

    Exact: every distinct score is a threshold, trapezoids between them, and a linear interpolation
    at the limit. Inputs as `pro_curve`. Undefined (nan) without a normal or an anomalous pixel.

    >>> round(aupro([[[1, 0, 0, 1]]], [[[0.9, 0.5, 0.2, 0.2]]]), 6)
    0.5
    """
    if not 0 < fpr_limit <= 1:
        raise ArgumentError(f"fpr_limit must be above 0 and at most 1, got {fpr_limit}")
    return _area(*pro_curve(masks, maps), fpr_limit)


def image_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Compute the image-level metrics of a result record from `labels` and `scores` `(N,)`.

    >>> image_metrics([0, 1], [0.1, 0.9])
    {'image_auroc': 1.0, 'image_ap': 1.0, 'image_f1_max_oracle': 1.0}
    """
    return _named("image", Ranking.of(labels, scores))


def pixel_metrics(masks: Images, maps: Images) -> dict[str, float]:
    """Compute the pixel-level metrics of a result record over the pooled pixels of one category.

    Inputs as `pro_curve`. Pool one category at a time and average the results: pooling the pixels
    of several categories is another number, because their scores do not share a scale.

    >>> pixel_metrics([[[0, 1]]], [[[0.1, 0.9]]])
    {'pixel_auroc': 1.0, 'pixel_ap': 1.0, 'pixel_f1_max_oracle': 1.0, 'aupro': 1.0}
    """
    masks, maps = paired_planes(masks, maps)
    ranking = Ranking.of_parts(masks, maps)
    return _named("pixel", ranking) | {"aupro": _area(*_pro_curve(ranking, masks), PRO_LIMIT)}


def _named(level: str, ranking: Ranking) -> dict[str, float]:
    values = ranking.auroc(), ranking.average_precision(), ranking.f1_max()[0]
    return dict(zip((f"{level}_auroc", f"{level}_ap", f"{level}_f1_max_oracle"), values, strict=True))


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    labels: ArrayLike,
    scores: ArrayLike,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile interval of `metric(labels, scores)` over `n` resamples of the images.

    Images are the first dimension of `labels` and `scores`, drawn with replacement and without
    regard to class; pixels of one image stay together. Draws where the metric is undefined are
    skipped; if all are, the interval is (nan, nan). It shows the luck of the test images, not that
    of training. Source: Efron, Better Bootstrap Confidence Intervals, JASA 1987 (percentiles).

    >>> bootstrap_interval(auroc, [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], n=20)
    (1.0, 1.0)
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if len(labels) != len(scores):
        raise ArgumentError(f"{len(labels)} labels but {len(scores)} scores")
    # By hand, since scipy.stats.bootstrap gives nan and a warning when the metric of one draw is undefined.
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(labels), size=len(labels)) for _ in range(n if len(labels) else 0))
    values = np.array([metric(labels[draw], scores[draw]) for draw in draws])
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pro_curve(ranking: Ranking, masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if not ranking.is_defined:
        return np.array([np.nan]), np.array([np.nan])
    covered = np.cumsum(np.concatenate([_region_weights(mask) for mask in masks])[ranking.order])[ranking.last]
    covered = np.append(0.0, covered / covered[-1])  # the total is the number of regions
    # Between two scores of anomalous pixels the curve runs flat: a corner before each and one at it.
    fpr = np.stack([ranking.above, ranking.reaching], axis=1).ravel() / ranking.normal
    pro = np.stack([covered[:-1], covered[1:]], axis=1).ravel()
    points = np.stack([np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[0.0], pro, [1.0]])])
    new = np.append(True, (np.diff(points) != 0).any(axis=0))
    return points[0, new], points[1, new]


def _area(fpr: np.ndarray, pro: np.ndarray, limit: float) -> float:
    """Compute the area under a curve up to `limit`, divided by it."""
    if np.isnan(pro[0]):
        return float("nan")
    inside = np.searchsorted(fpr, limit, side="right")
    x, y = np.append(fpr[:inside], limit), np.append(pro[:inside], np.interp(limit, fpr, pro))
    return min(float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum()) / limit, 1.0)  # rounding alone could exceed 1


def _region_weights(mask: np.ndarray) -> np.ndarray:
    """Compute 1 / (pixels of its region) for every anomalous pixel of a mask `(H, W)`, in raster order."""
    from scipy.ndimage import label

    regions = label(mask, structure=EIGHT_NEIGHBORS)[0][mask.astype(bool)]
    return 1.0 / np.bincount(regions)[regions]


def paired_planes(masks: Images, maps: Images) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return masks and maps as lists of `(H, W)`; ArgumentError names the first pair that does not match."""
    mask_planes, map_planes = [_plane(mask) for mask in masks], [_plane(one) for one in maps]
    if len(mask_planes) != len(map_planes):
        raise ArgumentError(f"{len(mask_planes)} masks but {len(map_planes)} maps")
    for index, (mask, one) in enumerate(zip(mask_planes, map_planes, strict=True)):
        if mask.shape != one.shape:
            raise ArgumentError(f"image {index}: mask {mask.shape} but map {one.shape}")
    return mask_planes, map_planes


def _plane(image: ArrayLike) -> np.ndarray:
    """Return an image `(H, W)` or `(1, H, W)` as `(H, W)`."""
    image = np.asarray(image)
    plane = image[0] if image.ndim == 3 and len(image) == 1 else image
    if plane.ndim != 2:
        raise ArgumentError(f"each mask and map must be (H, W) or (1, H, W), got {image.shape}")
    return plane
