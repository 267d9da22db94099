"""Features as pictures and tables."""

import numpy as np
import torch

from fastflow_lite.figures import features

BOXES = {"a": [(9, 3), (0, 7)], "b": [(5, 4), (6, 2)]}


def test_false_colors_tell_planted_regions_apart_and_stay_in_range() -> None:
    maps = 0.01 * torch.randn(2, 8, 6, 6)
    maps[:, 3, :, 3:] += 5  # the right half differs, in one channel
    colors = features.false_colors(maps)
    assert colors.shape == (2, 3, 6, 6) and colors.min() >= 0 and colors.max() <= 1
    left, right = colors[:, 0, :, :3], colors[:, 0, :, 3:]
    assert (left.mean(dim=(1, 2)) - right.mean(dim=(1, 2))).abs().min() > 0.8


def test_every_scale_is_a_column_at_its_own_size() -> None:
    scales = {"stride 4": torch.randn(2, 8, 8, 6), "stride 8": torch.randn(2, 8, 4, 3)}
    figure = features.scales_in_color(torch.rand(2, 3, 32, 24), scales)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "stride 4", "stride 8"]
    assert [axes.images[0].get_array().shape[:2] for axes in figure.axes[3:]] == [(32, 24), (8, 6), (4, 3)]


def test_channels_have_the_range_of_the_first_row() -> None:
    real, sample = [torch.arange(6.0).reshape(2, 3)] * 2, [torch.full((2, 3), 9.0)] * 2
    figure = features.channel_maps({"real": real, "sample": sample})
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 5)}
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["real", "sample"]


def test_fields_have_a_row_a_network_and_squares_of_the_given_sides() -> None:
    share = torch.ones(20, 20) / 400
    figure = features.receptive_fields({"a": [share, share], "b": [share, share]}, ["x", "y"], (10, 10), BOXES)
    panels = figure.axes[:4]
    assert [[p.get_width() for p in axes.patches] for axes in panels] == [[9, 3], [7], [5, 4], [6, 2]]
    assert panels[0].patches[0].get_xy() == (5.5, 5.5), "a square around the middle"
    assert {axes.images[0].get_clim() for axes in panels} == {(-5, 0)}


def test_fields_can_leave_out_the_strongest_decades() -> None:
    figure = features.receptive_fields({"a": [torch.ones(4, 4)]}, ["x"], (2, 2), {"a": [(0, 2)]}, (-7, -4.5))
    assert figure.axes[0].images[0].get_clim() == (-7, -4.5)


def test_share_tables_write_what_they_hold() -> None:
    figure = features.share_tables({"t": np.array([[1.0, 0.25], [0.5, 1.0]])}, {"t": ["p", "q"]})
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "0.25", "0.50", "1.00"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["p", "q"]
