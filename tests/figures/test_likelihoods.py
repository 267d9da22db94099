"""Figures of likelihoods: every value is drawn, and shares add up to 1."""

import numpy as np
import torch

from fastflow_lite.figures import likelihoods
from fastflow_lite.figures.style import ANOMALOUS, NORMAL
from fastflow_lite.flows.transforms import ActNorm


def test_two_groups_are_shares_in_the_two_colors() -> None:
    groups = (np.arange(10.0), np.arange(100.0))
    figure = likelihoods.two_groups({"a": groups, "b": groups[::-1]}, ("normal", "strange"), "bits")
    for axes in figure.axes:
        totals = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
        np.testing.assert_allclose(totals, 1)
    colors = [bars[0].get_facecolor()[:3] for bars in figure.axes[0].containers]
    assert colors == [tuple(int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)) for code in (NORMAL, ANOMALOUS)]


def test_patch_rows_show_the_first_and_the_last_patch_of_each_row() -> None:
    patches = torch.arange(20.0).view(20, 1, 1).expand(20, 4, 4)
    figure = likelihoods.patch_rows({"a": patches, "b": 2 * patches}, columns=5)
    shown = [float(np.mean(axes.images[0].get_array())) for axes in figure.axes]
    assert [shown[0], shown[4], shown[5], shown[9]] == [0, 19, 0, 38]


def test_points_of_the_narrow_gaussian_are_more_likely_and_apart_in_many_dimensions() -> None:
    figure = likelihoods.narrow_in_broad(0.5, (1, 100), count=500)
    broad, narrow = figure.axes[2].containers
    inside = [[bar.get_x() for bar in bars if bar.get_height() > 0] for bars in (broad, narrow)]
    assert max(inside[0]) < min(inside[1])


def test_the_path_of_the_bridge_is_drawn_with_its_log_density() -> None:
    path = torch.stack([torch.linspace(-1, 1, 9), torch.zeros(9)], dim=1)
    axes = likelihoods.bridge(ActNorm(2).eval(), torch.zeros(5, 2), torch.zeros(5, 2), path).axes[3]
    expected = -(path[:, 0] ** 2) / 2 - np.log(2 * np.pi)
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata(), float), expected, atol=1e-6)


def test_the_contrast_curve_has_the_bits_and_the_level_of_strangers() -> None:
    axes = likelihoods.contrast_curve([1.0, 0.5], [6.0, 5.0], 4.0).axes[0]
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines[:2]] == [[6.0, 5.0], [4.0, 4.0]]
