"""The scale from 0 to 1: where 0.5 lies, its order, and its ends."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_lite.detection import ScoreScale
from fastflow_lite.errors import ArgumentError

numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers, numbers)
def test_half_is_the_threshold_exactly(threshold: float, median: float, raw: float) -> None:
    score = float(ScoreScale(threshold, median)(raw))
    assert (score >= 0.5) == (raw >= threshold) and 0 <= score <= 1
    assert float(ScoreScale(threshold, median)(math.nextafter(threshold, -math.inf))) < 0.5


@given(numbers, numbers, st.lists(numbers, min_size=2))
def test_the_order_of_raw_scores_is_kept(threshold: float, median: float, raw: list[float]) -> None:
    assert (np.diff(ScoreScale(threshold, median)(np.sort(raw))) >= 0).all()


def test_the_median_has_a_tenth_and_far_scores_end_in_0_and_1() -> None:
    scale = ScoreScale(threshold=-0.3, median=-0.7)
    assert scale([-0.7, -0.3, 0.1]) == pytest.approx([0.1, 0.5, 0.9])
    with np.errstate(all="raise"):
        assert scale([-1e30, 1e30]).tolist() == pytest.approx([0, 1])


def test_a_threshold_below_the_median_still_gives_a_rising_scale() -> None:
    assert (np.diff(ScoreScale(threshold=1.0, median=2.0)([0.0, 1.0, 2.0])) > 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ArgumentError, match="median of a score scale must be finite"):
        ScoreScale(0.0, value)


def test_a_scale_is_not_changed_by_use() -> None:
    with pytest.raises(FrozenInstanceError):
        ScoreScale(1.0, 0.0).threshold = 2.0  # type: ignore[misc]
