"""Figures of notebooks 06 and 08 show the numbers they were given."""

import matplotlib
import numpy as np
import pytest
import torch

from fastflow_lite.figures import curves
from fastflow_lite.figures import features as plots_features
from fastflow_lite.figures import maps as plots_maps
from fastflow_lite.figures import scores as scores_figures
from fastflow_lite.scoring.thresholds import Threshold, conformal, quantile

matplotlib.use("Agg")


def test_false_colors_tell_planted_regions_apart_and_stay_in_range() -> None:
    maps = 0.01 * torch.randn(2, 8, 6, 6)
    maps[:, 3, :, 3:] += 5  # the right half says something else, in one channel
    colors = plots_features.false_colors(maps)
    assert colors.shape == (2, 3, 6, 6) and colors.min() >= 0 and colors.max() <= 1
    left, right = colors[:, 0, :, :3], colors[:, 0, :, 3:]
    assert (left.mean(dim=(1, 2)) - right.mean(dim=(1, 2))).abs().min() > 0.8


def test_fields_have_a_row_a_network_and_squares_of_the_given_sides() -> None:
    share = torch.ones(20, 20) / 400
    figure = plots_features.receptive_fields({"a": [share, share], "b": [share, share]}, ["x", "y"], (10, 10), BOXES)
    panels = figure.axes[:4]
    assert [[p.get_width() for p in axes.patches] for axes in panels] == [[9, 3], [7], [5, 4], [6, 2]]
    assert panels[0].patches[0].get_xy() == (5.5, 5.5), "a square around the middle"


BOXES = {"a": [(9, 3), (0, 7)], "b": [(5, 4), (6, 2)]}


def test_curves_and_tiles_write_what_they_hold() -> None:
    figure = curves.marked_curves([2, 4, 8], {"a": [1, 2, 3], "b": [3, 2, 1]}, "x", "y", doubling=True)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "4", "8"]
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1, 2, 3], [3, 2, 1]]
    figure = plots_features.share_tables({"t": np.array([[1.0, 0.25], [0.5, 1.0]])}, {"t": ["p", "q"]})
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "0.25", "0.50", "1.00"]


def test_maps_share_one_range_in_a_column() -> None:
    maps = np.stack([np.zeros((8, 8)), np.full((8, 8), 4.0)])
    figure = plots_maps.maps_in_columns(torch.rand(2, 3, 8, 8), maps > 1, {"m": maps}, ["good", "bad"])
    ranges = {axes.images[0].get_clim() for axes in figure.axes if axes.images[0].get_array().ndim == 2}
    assert len(ranges) == 1


@pytest.mark.parametrize("boxes", [[], [(slice(1, 3), slice(2, 6)), (slice(5, 6), slice(0, 1))]])
def test_marked_draws_every_box_where_it_lies(boxes: list) -> None:
    mask = np.zeros((8, 8), dtype=bool)
    figure = plots_maps.marked_regions(torch.rand(1, 3, 8, 8), mask[None], np.zeros((1, 8, 8)), 0.5, [boxes], ["good"])
    found = [(p.get_xy(), p.get_width(), p.get_height()) for p in figure.axes[0].patches]
    assert found == [((c.start - 0.5, r.start - 0.5), c.stop - c.start, r.stop - r.start) for r, c in boxes]


def test_every_rule_is_a_line_and_every_rate_a_bar() -> None:
    scores, labels = np.arange(10.0), np.arange(10) > 6
    rules: list[Threshold] = [quantile(scores[:7]), conformal(scores[:7], 0.2)]
    figure = scores_figures.score_histogram(scores, labels, rules)
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [rule.value for rule in rules]
    bars = scores_figures.false_alarm_rates(np.array([0.0, 0.0, 0.1, 0.2]), 0.1, 0.1).axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.5, 0.25, 0.25]


def test_up_sampled_cells_lie_at_the_middle_of_their_pixels() -> None:
    figure = curves.up_sampling(np.array([0.0, 8.0]), {"nearest": np.repeat([0.0, 8.0], 4)})
    assert figure.axes[0].lines[1].get_xdata().tolist() == [1.5, 5.5]


def test_clouds_keep_their_points() -> None:
    cloud = (np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    figure = curves.scatter_panels({"a": {"normal": cloud, "defect": cloud}}, "x", "y")
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [2, 2]
