"""What a backbone sees: neighbors that are there to be found, pieces cut where they should be, figures that draw."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fastflow_lite import FastFlow, evaluate
from fastflow_lite.backbones import Backbone
from fastflow_lite.course import backbone_views
from fastflow_lite.course.backbone_views import Place
from fastflow_lite.datasets import open_dataset
from fastflow_lite.synthetic.scenes import Scene

matplotlib.use("Agg")


def maps_with_a_twin() -> torch.Tensor:
    maps = F.normalize(torch.randn(4, 32, 5, 6), dim=1)
    maps[2, :, 4, 1] = maps[0, :, 1, 3]
    return maps


def test_nearest_place_is_the_planted_twin_and_never_in_the_own_image() -> None:
    places = backbone_views.nearest_places(maps_with_a_twin(), Place(0, 1, 3), count=3)
    assert places[0] == Place(2, 4, 1)
    assert sorted(place.image for place in places) == [1, 2, 3]


def test_same_kind_counts_the_images_that_agree() -> None:
    own = F.normalize(torch.randn(2, 16, 1, 1), dim=1)  # one direction a kind
    maps = F.normalize(torch.cat([own[[0]], own[[1]], own[[0]], own[[1]]]) + 0.05 * torch.randn(4, 16, 4, 4), dim=1)
    assert backbone_views.same_kind(maps, [0, 1, 0, 1]) == 1
    assert backbone_views.same_kind(maps, [0, 0, 1, 1]) == 0
    assert backbone_views.same_kind(maps, [0, 1, 0, 2]) == 0.5


def test_layer_maps_have_length_one(category: Path) -> None:
    images = open_dataset(category.parent, category.name, image_size=(64, 32)).train
    maps = backbone_views.layer_maps(Backbone(), images, layer=1)
    assert maps.shape == (6, 128, 8, 4)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(6, 8, 4))


@pytest.mark.parametrize(
    ("place", "top", "left"), [(Place(0, 0, 0), 0, 0), (Place(0, 7, 3), 48, 16), (Place(0, 4, 2), 28, 12)]
)
def test_a_patch_is_centered_and_stays_inside(category: Path, place: Place, top: int, left: int) -> None:
    images = open_dataset(category.parent, category.name, image_size=(64, 32)).train
    piece = backbone_views.patch_at(images, place, stride=8, side=16)
    assert torch.equal(piece, images[0][0][:, top : top + 16, left : left + 16])


def test_first_filters_are_those_of_the_stem() -> None:
    backbone = Backbone()
    assert torch.equal(backbone_views.first_filters(backbone), backbone.network.conv1.weight)


def test_figures_show_what_they_promise(category: Path, small_model: FastFlow) -> None:
    data = open_dataset(category.parent, category.name, image_size=(64, 32))
    assert len(backbone_views.draw_filters({"a": torch.randn(40, 3, 7, 7), "b": torch.randn(40, 3, 7, 7)}).axes) == 64
    found = {"a": [[Place(1, 0, 0), Place(2, 1, 1)]], "b": [[Place(3, 0, 0), Place(4, 1, 1)]]}
    assert len(backbone_views.draw_patches(data.train, [Place(0, 2, 2)], found, stride=8, side=16).axes) == 6
    result = evaluate(small_model, data.test)
    figure = backbone_views.draw_maps({"one": result, "two": result}, data.test, [0, 3])
    assert len(figure.axes) == 6
    assert f"{result.image_auroc:.3f} / {result.pixel_auroc:.3f}" in figure.axes[1].get_title()
    labels = np.zeros((8, 8), int)
    scene = Scene(np.zeros((8, 8, 3), np.float32), labels, labels, labels.astype(bool))
    other = Scene(scene.image, labels + 7, labels, scene.flaw)
    drawn = backbone_views.draw_scenes([other, scene, scene]).axes
    materials = [axes.images[0].get_array() for axes in drawn[3:6]]
    assert len(drawn) == 12
    assert (materials[1] == materials[2]).all() and (materials[0] != materials[1]).all(), "a material changed its color"
    assert len(backbone_views.draw_pictures([[scene.image] * 3] * 2).axes) == 1
