"""The scale of scores that people read: 0 to 1, with 0.5 at the threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fastflow_lite.errors import ArgumentError

AT_MEDIAN = 0.1  # the score of a normal image in the middle of all normal images
BAND = 256  # rows of a map
STEEPNESS = math.log(1 / AT_MEDIAN - 1)  # the logistic function of minus this is AT_MEDIAN


@dataclass(frozen=True)
class ScoreScale:
    """The logistic function with 0.5 at `threshold` and 0.1 at `median`, both in the unit of the raw scores.

    A score is at least 0.5 exactly where the raw score is at least `threshold`. It grows with the raw score, and two
    different scales order images alike. It is no probability of a defect: no defect was seen when it was made. Of maps
    with an upper bound, such as `tempered`, the highest score is below 1. Where the threshold is not above the median,
    their distance is taken as 1.

    >>> ScoreScale(threshold=3.0, median=1.0)([-9.0, 1.0, 3.0, 5.0]).round(3).tolist()
    [0.0, 0.1, 0.5, 0.9]
    """

    threshold: float
    median: float

    def __post_init__(self) -> None:
        for name in ("threshold", "median"):
            if not math.isfinite(getattr(self, name)):
                raise ArgumentError(f"the {name} of a score scale must be finite, got {getattr(self, name)}")

    @property
    def slope(self) -> float:
        """The factor of the raw score in the exponent of the logistic function."""
        distance = self.threshold - self.median
        return STEEPNESS / distance if distance > 0 else STEEPNESS

    def __call__(self, raw: ArrayLike) -> np.ndarray:
        """Return the scores of `raw` scores or maps, in their shape and in float64."""
        values = np.asarray(raw, np.float64)
        exponent = np.clip(self.slope * (values - self.threshold), -700, 700)  # beyond it exp overflows
        scores = 1 / (1 + np.exp(-exponent))
        return np.where(values < self.threshold, np.minimum(scores, np.nextafter(0.5, 0)), np.maximum(scores, 0.5))

    def rescale(self, raw: np.ndarray) -> np.ndarray:
        """Replace the values of a raw map `(H, W)` float32 by their scores, and return it. No copy of it is made."""
        for top in range(0, len(raw), BAND):
            raw[top : top + BAND] = self(raw[top : top + BAND])
        return raw
