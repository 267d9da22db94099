"""Lines have the values they were given, and each is named once."""

import numpy as np
import torch

from fastflow_lite.figures import curves


def test_loss_curve_counts_epochs_from_one() -> None:
    axes = curves.loss_curve([3.0, 2.0, 1.5], [3.5, 2.5, 2.0]).axes[0]
    assert [line.get_xdata().tolist() for line in axes.lines] == [[1, 2, 3]] * 2
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3, 2, 1.5], [3.5, 2.5, 2]]
    assert len(curves.loss_curve([3.0, 2.0]).axes[0].lines) == 1


def test_high_losses_get_a_second_panel_without_the_first_fifth() -> None:
    low = curves.losses_by_step({"flow": [3.0, 2.0]})
    assert len(low.axes) == 1 and low.axes[0].get_yscale() == "linear"
    high = curves.losses_by_step({"flow": [300.0, 2.0, 1.5, 1.2, 1.1]}, {"Gaussian": 2.5})
    assert [axes.get_yscale() for axes in high.axes] == ["log", "linear"]
    assert high.axes[1].lines[0].get_xdata().tolist() == [2, 3, 4, 5]
    assert [axes.lines[1].get_ydata() for axes in high.axes] == [[2.5, 2.5]] * 2


def test_a_line_keeps_its_look_from_panel_to_panel_and_is_named_once() -> None:
    a, b = torch.arange(3.0), torch.ones(3)
    figure = curves.curve_panels({"one": {"a": a, "b": b}, "two": {"b": b, "c": a}}, a, "x", truth=0.5)
    first, second = figure.axes
    assert first.lines[0].get_label() == "truth" and first.lines[0].get_ydata() == [0.5, 0.5]
    assert first.lines[2].get_color() == second.lines[0].get_color() != second.lines[1].get_color()
    names = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert names == [["truth", "a", "b"], ["c"]]


def test_the_legend_of_a_single_panel_covers_no_line() -> None:
    figure = curves.curve_panels({"one": {"a": torch.arange(3.0), "b": torch.ones(3)}}, torch.arange(3.0), "x")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_marked_curves_have_a_tick_for_each_doubling() -> None:
    figure = curves.marked_curves([2, 4, 8], {"a": [1, 2, 3], "b": [3, 2, 1]}, "x", "y", doubling=True)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "4", "8"]
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1, 2, 3], [3, 2, 1]]


def test_scatter_panels_keep_their_points() -> None:
    cloud = (np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    figure = curves.scatter_panels({"a": {"normal": cloud, "defect": cloud}}, "x", "y")
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [2, 2]


def test_up_sampled_cells_lie_at_the_middle_of_their_pixels() -> None:
    figure = curves.up_sampling(np.array([0.0, 8.0]), {"nearest": np.repeat([0.0, 8.0], 4)})
    assert figure.axes[0].lines[1].get_xdata().tolist() == [1.5, 5.5]
