"""Scores ranked once, and every metric computed from that one ranking.

A normal score matters only by how many anomalous ones lie below it. So the millions of normal pixels are sorted as
bare values, and only the few thousand anomalous ones keep their indices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastflow_lite.errors import ArgumentError
from fastflow_lite.scoring.thresholds import labeled_scores

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """How the scores of normal and anomalous images or pixels interleave.

    Attributes:
        distinct: The `D` distinct anomalous scores, highest first.
        above: Normal scores above each of them, `(D,)`.
        reaching: Normal scores at or above each, `(D,)`.
        hits: Anomalous scores at or above each, `(D,)`.
        order: Indices of the `P` anomalous scores, highest first.
        last: Where in `order` the scores equal to each distinct one end, `(D,)`.
        normal: Number of normal scores.
        anomalous: Number of anomalous scores.
    """

    distinct: np.ndarray
    above: Counts
    reaching: Counts
    hits: Counts
    order: Counts
    last: Counts
    normal: int
    anomalous: int

    @classmethod
    def of(cls, labels: ArrayLike, scores: ArrayLike) -> Ranking:
        """Rank `scores`, of any shape, by `labels` (0 normal, 1 anomalous) of that shape. ValueError as `auroc`."""
        return cls.of_parts([labels], [scores])

    @classmethod
    def of_parts(cls, labels: Iterable[ArrayLike], scores: Iterable[ArrayLike]) -> Ranking:
        """Rank the scores of several arrays together, such as the pixels of all images, without a copy of them all."""
        parts = [np.asarray(part) for part in scores]
        if bad := sum(part.size - np.count_nonzero(np.isfinite(part)) for part in parts):
            raise ArgumentError(f"{bad} of {sum(part.size for part in parts)} scores are NaN or infinite")
        pairs = [labeled_scores(*pair) for pair in zip(labels, parts, strict=True)]  # views where no type changes
        dtype = np.result_type(*{score.dtype for _, score in pairs} or {np.dtype(np.float64)})
        normal = np.empty(sum(np.count_nonzero(~label) for label, _ in pairs), dtype)
        start = 0
        for label, score in pairs:  # np.concatenate would need all parts and their copy at once
            part = score[~label]
            normal[start : start + part.size] = part
            start += part.size
        normal.sort()
        anomalous = np.concatenate([np.empty(0, dtype), *(score[label] for label, score in pairs)])
        order = np.argsort(anomalous)[::-1]
        falling = anomalous[order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if falling.size else order
        distinct = falling[last]
        above = normal.size - np.searchsorted(normal, distinct, side="right")
        reaching = normal.size - np.searchsorted(normal, distinct, side="left")
        return cls(distinct, above, reaching, last + 1, order, last, normal.size, anomalous.size)

    @property
    def is_defined(self) -> bool:
        """Whether both classes are there; otherwise every metric is nan."""
        return self.normal > 0 and self.anomalous > 0

    def auroc(self) -> float:
        """Compute the share of pairs, normal and anomalous, in which the anomalous one is higher; ties count half."""
        if not self.is_defined:
            return float("nan")
        pixels = np.diff(self.hits, prepend=0)
        wrong = (pixels * (self.above + self.reaching)).sum() / 2
        return float(1 - wrong / (self.normal * self.anomalous))

    def average_precision(self) -> float:
        """Compute the mean precision over the steps of recall, weighted by the step; no trapezoids."""
        if not self.is_defined:
            return float("nan")
        steps = np.diff(self.hits, prepend=0) / self.anomalous
        return float((steps * self.hits / (self.hits + self.reaching)).sum())

    def f1_max(self) -> tuple[float, float]:
        """Compute the best F1 of any threshold and the lowest threshold that reaches it: an ORACLE.

        It lies at an anomalous score, since a threshold between two of them adds no hit.
        """
        if not self.is_defined:
            return float("nan"), float("nan")
        f1 = 2 * self.hits / (self.hits + self.reaching + self.anomalous)
        best = len(f1) - 1 - int(np.argmax(f1[::-1]))
        return float(f1[best]), float(self.distinct[best])
