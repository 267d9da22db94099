"""What all figures share."""

import os

import numpy as np
import pytest
import torch

from fastflow_lite.errors import printable
from fastflow_lite.figures import layout
from fastflow_lite.figures.style import ANOMALOUS

MASK = np.zeros((6, 8), bool)
MASK[2:4, 3:6] = True


def test_sizes_are_in_inches() -> None:
    figure, grid = layout.new_grid(2, 3, 1.5)
    assert grid.shape == (2, 3) and figure.get_size_inches().tolist() == pytest.approx([4.8, 3.2])
    figure, axes = layout.new_panel(5, 2)
    assert figure.get_size_inches().tolist() == [5, 2]
    assert not axes.spines["top"].get_visible() and axes.spines["left"].get_visible()


def test_an_image_has_its_channels_last_and_no_ticks() -> None:
    _, axes = layout.new_panel(2, 2)
    image = torch.rand(3, 6, 8)
    layout.show_image(axes, image)
    assert np.array_equal(axes.images[0].get_array(), image.permute(1, 2, 0))
    assert not len(axes.get_xticks()) and not len(axes.get_yticks()) and not axes.collections


def test_white_that_resizing_rounded_up_is_drawn_without_a_complaint(caplog: pytest.LogCaptureFixture) -> None:
    _, axes = layout.new_panel(1, 1)
    layout.show_image(axes, torch.full((3, 2, 2), 1.0000002))
    assert not caplog.records


@pytest.mark.parametrize(("mask", "lines"), [(MASK, 1), (np.zeros_like(MASK), 0)])
def test_only_a_mask_with_pixels_is_outlined(mask: np.ndarray, lines: int) -> None:
    _, axes = layout.new_panel(2, 2)
    layout.show_image(axes, torch.rand(3, 6, 8), mask)
    assert len(axes.collections) == lines


@pytest.mark.parametrize(("level", "lines"), [(0.5, 1), (-0.1, 0), (2.0, 0), (float("nan"), 0)])
def test_a_contour_is_drawn_only_where_the_map_crosses_it(level: float, lines: int) -> None:
    _, axes = layout.new_panel(2, 2)
    layout.contour(axes, MASK.astype(float), level, ANOMALOUS)
    assert len(axes.collections) == lines


def test_a_map_has_the_given_range_or_its_own() -> None:
    _, axes = layout.new_panel(2, 2)
    values = np.arange(6.0).reshape(2, 3)
    assert layout.show_map(axes, values, 1, 3).get_clim() == (1, 3)
    assert layout.show_map(axes, values).get_clim() == (0, 5)


def test_titles_go_to_their_columns() -> None:
    _, grid = layout.new_grid(1, 2, 1)
    layout.title_columns(grid[0], ["a", "b"])
    assert [axes.get_title() for axes in grid[0]] == ["a", "b"]
    with pytest.raises(ValueError, match="shorter"):
        layout.title_columns(grid[0], ["a"])


def test_an_empty_legend_reads_undefined() -> None:
    _, axes = layout.new_panel(2, 2)
    layout.legend_or_undefined(axes)
    assert axes.texts[0].get_text() == "undefined" and axes.get_legend() is None
    axes.plot([0, 1], label="line")
    layout.legend_or_undefined(axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["line"]


@pytest.mark.hostile
@pytest.mark.parametrize(
    "name", ["a$b$^$_", "$x$", "5 $ and 6 $", os.fsdecode(b"no \xff utf-8"), "\x1b[31m", "metal_nut"]
)
def test_the_name_of_a_folder_is_drawn_as_it_is(name: str) -> None:
    figure, grid = layout.new_grid(1, 1, 2.0)
    grid[0][0].set_title(layout.as_label(name))
    figure.canvas.draw()
    shown, is_formula = grid[0][0].title._preprocess_math(grid[0][0].get_title())
    assert (shown, is_formula) == (printable(name), False)
