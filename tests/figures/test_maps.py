"""Maps beside their images: which images, which color range, which outline."""

import numpy as np
import pytest
import torch

from fastflow_lite import Result
from fastflow_lite.datasets import ImageSet
from fastflow_lite.figures import maps as map_figures
from fastflow_lite.figures.layout import color_bars, panels
from fastflow_lite.scoring.pixel_iou import iou


def test_typical_images_are_the_median_of_their_kind(result: Result) -> None:
    indices = map_figures.typical_indices(result)
    assert [result.defects[index] for index in indices] == ["good", "square"]
    for index in indices:
        scores = result.scores[np.array(result.defects) == result.defects[index]]
        assert result.scores[index] == np.median(scores)


def test_one_color_range_for_all(result: Result) -> None:
    low, high = map_figures.heat_range(result)
    assert low == pytest.approx(np.median(result.maps[~result.labels]))
    assert low < high <= result.maps.max()


def test_gallery_draws_with_and_without_masks(result: Result, without_masks: Result, images: ImageSet) -> None:
    for one, rows in ((result, 2), (without_masks, 1)):
        figure = map_figures.gallery(one, images)
        figure.canvas.draw()
        assert len(figure.axes) == 4 * rows and len(figure.axes[4 * rows - 2].child_axes) == 1
        assert {axes.images[0].get_clim() for axes in figure.axes[2::4]} == {map_figures.heat_range(one)}
    square = map_figures.gallery(result, images, [4]).axes
    assert np.array_equal(square[1].images[0].get_array(), result.masks[4])
    assert np.array_equal(square[2].images[0].get_array(), result.maps[4])
    overlap = iou(result.masks[4], result.maps[4] >= result.pixel_threshold)
    assert square[3].get_xlabel() == f"IoU {overlap:.2f}"
    assert square[0].get_ylabel() == f"square\n{result.scores[4]:.3f}"


def test_the_gallery_states_what_set_the_level_of_its_regions(
    result: Result, without_masks: Result, images: ImageSet
) -> None:
    marked = map_figures.gallery(result, images)
    assert (
        marked.get_supxlabel() == map_figures.LEVEL_OF_NORMAL and "without a test label" in map_figures.LEVEL_OF_NORMAL
    )
    assert [bool(axes.get_xlabel()) for axes in marked.axes[3::4]] == [False, True]  # a good image has no IoU
    unmarked = map_figures.gallery(without_masks, images)
    assert unmarked.get_supxlabel() == map_figures.NO_LEVEL and not unmarked.axes[3].get_xlabel()


def test_two_color_scales_have_one_range_in_the_last_column_only(result: Result, images: ImageSet) -> None:
    axes = map_figures.two_color_scales(result, images, [0, 4]).axes
    own, common = axes[1::3], axes[2::3]
    assert [a.images[0].get_clim() for a in own] == [(result.maps[k].min(), result.maps[k].max()) for k in (0, 4)]
    assert {a.images[0].get_clim() for a in common} == {map_figures.heat_range(result)}


def test_other_maps_stand_beside_the_own_one(result: Result, images: ImageSet) -> None:
    figure = map_figures.maps_side_by_side(result, images, {"other": result.maps**2}, [1, 4])
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:3]] == ["image", "anomaly map", "other"]
    assert np.array_equal(figure.axes[5].images[0].get_array(), result.maps[4] ** 2)
    low, high = np.quantile(result.maps, (0.05, 0.999))  # of all images, not of the two that are drawn
    assert figure.axes[4].images[0].get_clim() == (pytest.approx(low), pytest.approx(high))


def test_maps_share_one_range_in_a_column() -> None:
    maps = np.stack([np.zeros((8, 8)), np.full((8, 8), 4.0)])
    figure = map_figures.maps_in_columns(torch.rand(2, 3, 8, 8), maps > 1, {"m": maps}, ["good", "bad"])
    ranges = {axes.images[0].get_clim() for axes in panels(figure) if axes.images[0].get_array().ndim == 2}
    assert len(ranges) == 1


@pytest.mark.parametrize("boxes", [[], [(slice(1, 3), slice(2, 6)), (slice(5, 6), slice(0, 1))]])
def test_marked_regions_draws_every_box_where_it_lies(boxes: list) -> None:
    mask = np.zeros((8, 8), dtype=bool)
    figure = map_figures.marked_regions(torch.rand(1, 3, 8, 8), mask[None], np.zeros((1, 8, 8)), 0.5, [boxes], ["good"])
    found = [(p.get_xy(), p.get_width(), p.get_height()) for p in figure.axes[0].patches]
    assert found == [((c.start - 0.5, r.start - 0.5), c.stop - c.start, r.stop - r.start) for r, c in boxes]
    assert figure.axes[0].get_title() == "good"


def test_value_grids_share_one_scale_from_zero() -> None:
    figure = map_figures.value_grids({"a": torch.ones(2, 3), "b": torch.full((2, 3), 5.0)})
    assert [axes.get_title() for axes in panels(figure)] == ["a", "b"] and len(color_bars(figure)) == 1
    assert {axes.collections[0].get_clim() for axes in panels(figure)} == {(0, 5)}


def test_colors_are_logarithmic_where_a_linear_scale_would_be_black() -> None:
    maps = np.full((2, 8, 8), 1.0)
    maps[1, :2, :2] = 1000.0
    calm = np.linspace(0, 1, 128).reshape(2, 8, 8)
    figure = map_figures.maps_in_columns(torch.rand(2, 3, 8, 8), None, {"wild": maps, "calm": calm}, ["good", "bad"])
    wild, even = (panels(figure)[k].images[0].norm for k in (1, 2))
    assert 0.3 < wild(31.0) < 0.9, "what lies between is seen"
    assert even(0.5) == pytest.approx(0.5, abs=0.1)
    assert [len(axes.child_axes) for axes in figure.axes] == [0, 0, 0, 0, 1, 1], "a color scale below each column"
    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "wild\n(log colors)", "calm"]
