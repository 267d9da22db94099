"""Ways to set the threshold that turns a score into a decision: an alarm is `score >= threshold`.

Fixed by hand, a quantile of normal scores, the best F1 on a validation split, and conformal. None
may see the test set; `report` shows what each costs there, afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fastflow_lite.errors import ArgumentError

ROUNDING = 1e-9  # 0.07 * 100 is 7.000000000000001 in floating point; this keeps it 7


@dataclass(frozen=True)
class Threshold:
    """A decision rule `score >= value`, the strategy that set it, and a note on what it rests on.

    >>> Threshold(0.5, "fixed", "by hand").decide([0.4, 0.5, 0.6]).tolist()
    [False, True, True]
    """

    value: float
    strategy: str
    note: str

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            raise ArgumentError("a threshold cannot be NaN: no score would ever be an alarm")

    def decide(self, scores: ArrayLike) -> np.ndarray:
        """Return True where `scores`, of any shape, raise an alarm. ArgumentError if one is NaN or infinite.

        A comparison with NaN is False: a score that could not be computed would be no alarm.
        """
        # NumPy would round `value` to float32 beside float32 scores, maybe down onto one of them.
        return _finite(scores).astype(np.float64) >= self.value


def fixed(value: float) -> Threshold:
    """Make a threshold from a value chosen by hand.

    >>> fixed(0.5)
    Threshold(value=0.5, strategy='fixed', note='chosen by hand')
    """
    return Threshold(float(value), "fixed", "chosen by hand")


def quantile(normal_scores: ArrayLike, q: float = 0.95) -> Threshold:
    """Compute the smallest threshold at which at most a fraction `1 - q` of `normal_scores` are alarms.

    `normal_scores` `(N,)` must come from normal images the model was not trained on: a flow gives
    its training images lower scores, and a threshold from those raises more alarms than promised.
    The value is the float64 next above the `ceil(q * N)`-th smallest score, itself no alarm.

    >>> t = quantile([1, 2, 3, 4], q=0.75)
    >>> t.decide([3, 4]).tolist()
    [False, True]
    """
    scores = np.sort(_normal(normal_scores))
    if not 0 < q <= 1:
        raise ArgumentError(f"q must be above 0 and at most 1, got {q}")
    alarms = scores.size - math.ceil(q * scores.size - ROUNDING)
    note = f"at most {alarms} of {scores.size} normal scores are alarms (q={q})"
    return Threshold(_just_above(scores, alarms), "quantile", note)


def best_f1(labels: ArrayLike, scores: ArrayLike) -> Threshold:
    """Compute the threshold of the best F1 on a labeled VALIDATION split; never use it on the test split.

    `labels` and `scores` `(N,)`. F1 is the same anywhere between two neighboring scores; the
    threshold lies midway, to generalize. Among equal F1 the lowest wins (highest recall). One class
    only: ArgumentError. `split_validation` makes the split; on test data this is `metrics.f1_max`.

    >>> t = best_f1([0, 0, 1, 1], [1, 2, 4, 5])
    >>> t.value
    3.0
    """
    labels, scores = labeled_scores(labels, scores)
    if not has_both_classes(labels):
        raise ArgumentError(f"best F1 needs both classes, got {labels.size} labels without")
    f1, candidates = f1_curve(labels, scores.astype(np.float64))
    best = int(np.argmax(f1))
    upper, lower = candidates[best], candidates[max(best - 1, 0)]
    midway = lower + (upper - lower) / 2
    value = midway if midway > lower else upper  # nothing fits between two neighboring floats
    note = f"F1 {f1[best]:.4f} on {labels.size} validation images"
    return Threshold(float(value), "best_f1", note)


def conformal_p_values(normal_scores: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Compute p-values `(1 + #{normal >= s}) / (n + 1)` of `scores`, in their shape: small is anomalous.

    For a new normal image, P(p <= alpha) <= alpha for every alpha, if it is exchangeable with the
    `n` images behind `normal_scores` (so these must not be training images). The probability is
    over draws of those images too; no distribution is assumed. Source: arXiv 2104.08279.

    >>> conformal_p_values([1, 2, 3], [0, 2.5, 9]).tolist()
    [1.0, 0.5, 0.25]
    """
    normal = np.sort(_normal(normal_scores))
    scores = _finite(scores).astype(np.float64)
    return (1 + normal.size - np.searchsorted(normal, scores)) / (normal.size + 1)


def conformal(normal_scores: ArrayLike, alpha: float = 0.05) -> Threshold:
    """Compute the threshold whose alarms are exactly the scores with conformal p-value <= `alpha`.

    A new normal image is then an alarm with probability at most `alpha`, over draws of the normal
    images too: a guarantee that `quantile` lacks. The smallest possible p-value is `1 / (n + 1)`,
    so too few normal scores for `alpha` is an ArgumentError.

    >>> conformal(range(19), alpha=0.05).decide([18, 18.5]).tolist()
    [False, True]
    """
    scores = np.sort(_normal(normal_scores))
    if not 0 < alpha < 1:
        raise ArgumentError(f"alpha must be between 0 and 1, got {alpha}")
    alarms = math.floor(alpha * (scores.size + 1) + ROUNDING) - 1
    if alarms < 0:
        raise ArgumentError(f"alpha={alpha} needs {needed_images(alpha)} normal scores or more, got {scores.size}")
    note = f"p-value <= {alpha} against {scores.size} normal scores"
    return Threshold(_just_above(scores, alarms), "conformal", note)


def needed_images(alpha: float) -> int:
    """Return the smallest number of normal images that a conformal threshold with this `alpha` needs."""
    return math.ceil(1 / alpha - ROUNDING) - 1


def report(labels: ArrayLike, scores: ArrayLike, thresholds: Sequence[Threshold]) -> list[dict[str, str | float | int]]:
    """Compute what each threshold costs on labeled `scores` `(N,)`: one row per threshold.

    `false_alarm_rate` is the share of alarms among normals. What is undefined (precision without
    an alarm, recall without an anomaly) is nan.

    >>> row = report([0, 0, 1], [1, 3, 4], [fixed(2)])[0]
    >>> row["precision"], row["recall"], row["false_alarm_rate"]
    (0.5, 1.0, 0.5)
    """
    labels, scores = labeled_scores(labels, scores)
    return [_report_row(labels, scores, threshold) for threshold in thresholds]


def split_validation(
    labels: ArrayLike, fraction: float = 0.5, seed: int = 0, groups: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted indices of validation (about `fraction` of each class) and test, from labels `(N,)`.

    Disjoint, exhaustive, the same for the same `seed`. Within a class every group (say, the kind of
    defect) is split in the same proportion, to within one image. A class of two or more is in both
    parts; the only member of a class goes to test.

    >>> validation, test = split_validation([0, 0, 0, 0, 1, 1])
    >>> len(validation), len(test)
    (3, 3)
    """
    labels = _binary(np.asarray(labels))
    groups = np.zeros(labels.shape) if groups is None else np.asarray(groups)
    if labels.ndim != 1 or groups.shape != labels.shape:
        raise ArgumentError(f"labels and groups must be (N,), got {labels.shape} and {groups.shape}")
    if not 0 < fraction < 1:
        raise ArgumentError(f"fraction must be between 0 and 1, got {fraction}")
    rng = np.random.default_rng(seed)
    chosen = np.zeros(labels.size, dtype=bool)
    for label in (False, True):
        members = rng.permutation(np.flatnonzero(labels == label))
        by_group = members[np.argsort(groups[members], kind="stable")]
        chosen[by_group[_evenly_spaced(members.size, fraction, rng)]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def f1_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Compute F1 of the rule `score >= threshold`, and the thresholds: every distinct score, ascending.

    >>> f1, thresholds = f1_curve([0, 1, 1], [1, 2, 3])
    >>> f1.round(2).tolist(), thresholds.tolist()
    ([0.8, 1.0, 0.67], [1, 2, 3])
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, scores)
    total = np.maximum(precision + recall, np.finfo(np.float64).tiny)  # both are 0 without a hit
    return (2 * precision * recall / total)[:-1], thresholds  # the last point has no threshold


def labeled_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return both arrays flat, labels as bool; ArgumentError if shapes differ or values are unusable.

    >>> labeled_scores([[0, 1]], [[0.2, 0.9]])[0].tolist()
    [False, True]
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.shape != scores.shape:
        raise ArgumentError(f"labels have shape {labels.shape} but scores have shape {scores.shape}")
    return _binary(labels).ravel(), _finite(scores).ravel()


def has_both_classes(labels: np.ndarray) -> bool:
    """Return whether `labels` hold a normal and an anomalous one; else metrics are undefined."""
    return bool(labels.any() and not labels.all())


def _binary(labels: np.ndarray) -> np.ndarray:
    """Return `labels` as bool. A gray mask is refused: where to cut it changes the pixel metrics."""
    if labels.dtype != bool and not np.isin(labels, (0, 1)).all():
        raise ArgumentError("labels and masks must be bool, or 0 and 1; binarize with mask > 0")
    return labels.astype(bool, copy=False)


def _finite(scores: ArrayLike) -> np.ndarray:
    """Return `scores` as a floating point array, or raise ArgumentError with the count of NaN and infinite ones."""
    scores = np.asarray(scores)
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float64)
    bad = scores.size - np.count_nonzero(np.isfinite(scores))
    if bad:
        raise ArgumentError(f"{bad} of {scores.size} scores are NaN or infinite")
    return scores


def _normal(normal_scores: ArrayLike) -> np.ndarray:
    """`normal_scores` in float64, at least one of them."""
    scores = _finite(normal_scores).astype(np.float64).ravel()
    if scores.size == 0:
        raise ArgumentError("no normal scores to set a threshold from")
    return scores


def _just_above(ascending: np.ndarray, alarms: int) -> float:
    """Compute the smallest float64 that at most `alarms` of the `ascending` scores reach."""
    highest_silent = ascending[max(ascending.size - alarms, 1) - 1]
    return float(np.nextafter(highest_silent, np.inf))


def _evenly_spaced(size: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of about `fraction * size` of `size` items, evenly spaced from a random start."""
    count = int(np.clip(round(fraction * size), 1, size - 1)) if size > 1 else 0
    steps = (np.arange(size + 1) * count + rng.integers(max(size, 1))) // max(size, 1)
    return np.flatnonzero(np.diff(steps))


def _report_row(labels: np.ndarray, scores: np.ndarray, threshold: Threshold) -> dict[str, str | float | int]:
    """One row of `report`, from flat bool `labels` and `scores`."""
    alarms = threshold.decide(scores)
    hits, false_alarms = int((alarms & labels).sum()), int((alarms & ~labels).sum())
    n_anomalous, n_normal = int(labels.sum()), int((~labels).sum())
    return {
        "strategy": threshold.strategy,
        "value": threshold.value,
        "precision": _ratio(hits, hits + false_alarms),
        "recall": _ratio(hits, n_anomalous),
        "f1": _ratio(2 * hits, hits + false_alarms + n_anomalous),
        "false_alarm_rate": _ratio(false_alarms, n_normal),
        "accuracy": _ratio(hits + n_normal - false_alarms, labels.size),
        "n_normal": n_normal,
        "n_anomalous": n_anomalous,
    }


def _ratio(part: int, whole: int) -> float:
    """`part / whole`, nan when there is no whole."""
    return part / whole if whole else float("nan")
