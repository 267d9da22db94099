"""The colors of maps."""

import numpy as np

from fastflow_lite.detection.heat_colors import heat_colors, heat_cover


def test_colors_are_those_of_inferno() -> None:
    from matplotlib import colormaps

    levels = np.linspace(0, 1, 101)
    assert np.abs(heat_colors(levels) - colormaps["inferno"](levels)[:, :3] * 255).max() < 12
    steps = np.linspace(0, 1, 10)
    assert np.abs(heat_colors(steps) - colormaps["inferno"](steps)[:, :3] * 255).max() < 0.9


def test_low_scores_hide_nothing_and_no_score_hides_all() -> None:
    assert heat_cover(np.array([0.0, 0.1])).tolist() == [0, 0]
    assert 0 < heat_cover(np.array([0.3]))[0] < heat_cover(np.array([0.5]))[0] == heat_cover(np.array([1.0]))[0] < 0.8
