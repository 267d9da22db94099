"""The figure of a log: every image is counted, and the evidence has its limit."""

import numpy as np
import pytest

from fastflow_lite.figures.drift import LoggedDetector, drift


def detector(new: list[float], evidence: list[float], rule: str = "conformal") -> LoggedDetector:
    times = np.datetime64("2026-11-01T08:00", "ms") + 1000 * np.arange(len(new))
    normal = np.linspace(0, 1, 40)
    return LoggedDetector("a", normal, np.array(new), 0.9, rule, times, {"alarms": np.array(evidence)})


@pytest.mark.parametrize("new", [[0.2, 0.5, 80.0], [0.5, 0.5, 0.5]])
def test_every_image_is_counted_in_the_panel(new: list[float]) -> None:
    upper, _ = drift([detector(new, [1.0, 2.0, 200.0])], 100).axes
    for drawn in upper.patches[:2]:
        assert np.sum(drawn.get_data().values) == pytest.approx(1)
    assert upper.patches[1].get_data().edges[-1] <= 1.5
    assert upper.lines[0].get_xdata()[0] == 0.9
    assert ("last bin" in upper.get_xlabel()) == (max(new) > 1.5)


def test_the_first_time_at_the_limit_is_marked() -> None:
    _, lower = drift([detector([0.1] * 4, [1, 2, 200, 300])], 100).axes
    curve, mark, limit = lower.lines
    assert mark.get_ydata().tolist() == [200] and limit.get_ydata()[0] == 100
    assert lower.get_ylim()[0] < 1 and lower.get_ylim()[1] > 300
    assert len(curve.get_xdata()) == 4


def test_evidence_without_bound_leaves_the_limit_in_sight() -> None:
    figure = drift([detector([0.1] * 2, [1e-30, 1e90]), detector([0.1], [1.0], "my rule")], 100)
    assert len(figure.axes) == 4
    low, high = figure.axes[2].get_ylim()
    assert 1e-7 < low < 100 < high < 1e7
    figure.canvas.draw()
