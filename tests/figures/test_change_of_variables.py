"""Densities through maps of the line and of the plane, and a Jacobian in blocks."""

import numpy as np
import pytest
import torch

from fastflow_lite.figures import change_of_variables as figures


def test_a_strip_is_filled_in_the_three_panels() -> None:
    x = np.linspace(-3, 3, 301)
    density = np.exp(-(x**2))
    figure = figures.map_between_densities(x, 2 * x, density, density / 2, [(-1, 0), (1, 2)])
    above, corner, middle, right = figure.axes
    assert [len(axes.collections) for axes in (above, corner, middle, right)] == [2, 0, 4, 2]
    low, high = above.collections[0].get_datalim(above.transData).intervalx
    assert (low, high) == (pytest.approx(-1), pytest.approx(0, abs=1e-9))
    assert middle.get_xlim() == above.get_xlim() == (-3, 3)
    assert middle.get_ylim() == right.get_ylim() == (-6, 6)


def test_squares_and_parallelograms_agree_for_a_linear_map() -> None:
    matrix = np.array([[2.0, 1.0], [0.0, 1.0]])
    corners = np.array([[0.0, 0.0], [1.0, 1.0]])
    figure = figures.grid_before_after(lambda p: p @ matrix.T, corners, np.stack([matrix] * 2), 0.4, 2.5)
    before, after = figure.axes
    assert len(before.patches) == len(after.patches) == 2
    dashed = [line for line in after.lines if line.get_linestyle() == "--"]
    for patch, line in zip(after.patches, dashed, strict=True):
        assert np.allclose(patch.get_xy()[:-1], line.get_xydata()[:-1])


def test_a_square_runs_counter_clockwise() -> None:
    outline = figures.square(np.array([1.0, 2.0]), 0.5, points=10)
    x, y = outline.T
    assert outline.shape == (40, 2) and outline[0].tolist() == [1, 2]
    assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2 == pytest.approx(0.25)


def test_densities_share_one_range_and_point_upwards() -> None:
    figure = figures.density_grids({"a": np.eye(3), "b": 4 * np.eye(3)}, 2.0)
    shown = [axes.images[0] for axes in figure.axes[:2]]
    assert {image.get_clim() for image in shown} == {(0, 4)} and {image.origin for image in shown} == {"lower"}
    assert figure.axes[2].get_ylabel() == "density"


def test_a_jacobian_has_its_numbers_and_the_names_of_its_blocks() -> None:
    jacobian = torch.tensor([[1.0, 0.0], [0.25, -2.0]])
    axes = figures.jacobian_blocks(jacobian, 1, ["I", "0", "M", "d"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.00", "0", "0.25", "-2.00", "I", "0", "M", "d"]
    across, down = axes.lines  # the cuts between the blocks
    assert (across.get_ydata()[0], down.get_xdata()[0]) == (0.5, 0.5)
