"""All pixels of a category ranked once, and every metric of them read off that one ranking.

Scores of normal pixels matter only by how many lie above each anomalous pixel's, so the millions are sorted as bare
values, without their indices, and only the few thousand anomalous ones carry theirs along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastflow_lite.scoring.thresholds import labeled_scores

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """How the scores of normal and anomalous pixels interleave.

    `D` distinct anomalous scores, highest first. `above` and `reaching` `(D,)`: normal pixels above, and at or above,
    each. `hits` `(D,)`: anomalous pixels at or above each. `order` `(P,)`: the anomalous pixels by falling score;
    `last` `(D,)`: where in it the pixels of each distinct score end. `normal`, `anomalous`: how many there are.
    """

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
        labels, scores = labeled_scores(labels, scores)
        normal, anomalous = np.sort(scores[~labels]), scores[labels]
        order = np.argsort(anomalous)[::-1]
        falling = anomalous[order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if falling.size else order
        distinct = falling[last]
        above = normal.size - np.searchsorted(normal, distinct, side="right")
        reaching = normal.size - np.searchsorted(normal, distinct, side="left")
        return cls(above, reaching, last + 1, order, last, normal.size, anomalous.size)

    @property
    def is_defined(self) -> bool:
        """Whether both classes are there; without, every metric is nan."""
        return self.normal > 0 and self.anomalous > 0

    def auroc(self) -> float:
        """The share of pairs, one normal and one anomalous, that are ranked right; ties count half."""
        if not self.is_defined:
            return float("nan")
        pixels = np.diff(self.hits, prepend=0)
        wrong = (pixels * (self.above + self.reaching)).sum() / 2
        return float(1 - wrong / (self.normal * self.anomalous))

    def average_precision(self) -> float:
        """Precision at each step of recall, weighted by the step; no trapezoids."""
        if not self.is_defined:
            return float("nan")
        steps = np.diff(self.hits, prepend=0) / self.anomalous
        return float((steps * self.hits / (self.hits + self.reaching)).sum())

    def f1_max(self) -> float:
        """The best F1 of any threshold: an ORACLE. It lies at an anomalous pixel's score, since others add no hit."""
        if not self.is_defined:
            return float("nan")
        return float((2 * self.hits / (self.hits + self.reaching + self.anomalous)).max())
