"""Figures of several methods: each keeps its color, each value is where it belongs."""

import numpy as np
import torch

from fastflow_lite.figures import rivals
from fastflow_lite.figures.style import GOLD, GREEN, VIOLET

COLORS = [VIOLET, GREEN, GOLD]


def test_every_interval_is_a_bar_from_low_to_high_with_its_value_in_the_color_of_the_method() -> None:
    intervals = {"a": (0.1, 0.2, 0.4), "b": (0.5, 0.6, 0.7), "c": (0.0, 0.5, 1.0)}
    figure = rivals.metric_intervals({"AUROC": intervals, "AUPRO": intervals})
    for axes in figure.axes:
        assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines[::2]] == [
            [0.1, 0.4],
            [0.5, 0.7],
            [0.0, 1.0],
        ]
        assert [line.get_color() for line in axes.lines[::2]] == COLORS
        assert [text.get_text() for text in axes.texts] == ["0.200", "0.600", "0.500"]


def test_a_method_has_the_color_of_its_intervals_on_a_curve() -> None:
    lines = {"a": [0.0, 1.0], "b": [1.0, 0.0], "c": [0.5, 0.5]}
    axes = rivals.method_curves([1, 2], {"image AUROC": lines}, "shift").axes[0]
    assert [line.get_color() for line in axes.lines[:3]] == COLORS
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines[:3]] == list(lines.values())


def test_one_range_for_each_column_from_the_good_images_median() -> None:
    masks = np.zeros((2, 8, 8), bool)
    masks[1, 2:4, 2:4] = True
    maps = np.where(masks, 9.0, 1.0)
    figure = rivals.failure_gallery(torch.rand(2, 3, 8, 8), masks, {"a": maps}, [("miss", 1), ("alarm", 0)], "drawn")
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes[1:4:2]]
    assert float(shown[0].min()) == 0 and abs(float(shown[0].max()) - 1) < 1e-6 and float(shown[1].max()) == 0
    assert figure.get_supxlabel() == "drawn"
