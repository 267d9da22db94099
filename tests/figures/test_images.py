"""Examples of a data set, and rows of pictures and maps."""

import numpy as np

from fastflow_lite.datasets import ImageSet
from fastflow_lite.figures import images as image_figures


def test_a_contact_sheet_names_training_and_test_images_and_outlines_defects(images: ImageSet) -> None:
    figure = image_figures.contact_sheet(images.subset([0, 1, 2]), images, [0, 3])
    train, test = figure.axes[:4], figure.axes[4:6]
    assert {axes.get_title() for axes in train} == {"train: good"}
    assert [axes.get_title() for axes in test] == ["test: good", "test: square"]
    assert [len(axes.collections) for axes in test] == [0, 1]
    assert np.array_equal(test[1].images[0].get_array(), images[3][0].permute(1, 2, 0))


def test_maps_of_all_rows_share_one_range() -> None:
    rows = {"picture": [np.zeros((4, 4, 3)), np.ones((4, 4, 3))], "map": [np.zeros((4, 4)), np.full((4, 4), 7.0)]}
    mask = np.eye(4, dtype=bool)
    figure = image_figures.image_rows(rows, ["x", "y"], [mask, ~mask & mask])
    assert {axes.images[0].get_clim() for axes in figure.axes[2:]} == {(0, 7)}
    assert [len(axes.collections) for axes in figure.axes] == [1, 0, 1, 0]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["picture", "map"]
    limited = image_figures.image_rows(rows, ["x", "y"], limits=(0, 2))
    assert limited.axes[3].images[0].get_clim() == (0, 2)
