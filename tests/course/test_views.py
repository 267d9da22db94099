"""Figures of the interactive views: each is a function of its values."""

import numpy as np
import pytest
import torch

from fastflow_lite.course import checks, views
from fastflow_lite.course.plane import log_density
from fastflow_lite.datasets import ImageSet
from fastflow_lite.figures.layout import panels
from fastflow_lite.figures.plane import REACH


def test_the_plane_coupling_is_a_coupling() -> None:
    coupling, x = views.plane_coupling(0.9, -0.7, 1.5).double(), torch.randn(5, 2, dtype=torch.float64)
    assert checks.check_inverse(coupling, x) < 1e-10
    assert checks.check_log_det(coupling, x) < 1e-8
    s = 1.5 * torch.tanh(0.9 * x[:, 0] / 1.5)
    assert torch.allclose(coupling(x)[0], torch.stack([x[:, 0], x[:, 1] * s.exp() - 0.7 * x[:, 0]], dim=1))


def test_scale_stretches_the_density_where_half_a_is_large() -> None:
    points = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    low, high = log_density(views.plane_coupling(0.8, 0.0, 2.0), points)
    assert high - low > 1.0
    assert torch.allclose(*log_density(views.plane_coupling(0.0, 0.0, 2.0), points))


def test_a_clamp_must_be_positive() -> None:
    with pytest.raises(ValueError, match="clamp must be above 0, got 0"):
        views.draw_coupling(clamp=0)


@pytest.mark.parametrize(
    ("threshold", "counts"),
    [(0.0, [[0, 3], [0, 3]]), (0.5, [[2, 1], [1, 2]]), (0.6, [[2, 1], [1, 2]]), (1.0, [[3, 0], [3, 0]])],
)
def test_counts_are_those_of_the_rule(scores: np.ndarray, threshold: float, counts: list[list[int]]) -> None:
    assert views.confusion(np.arange(6) > 2, scores, threshold).tolist() == counts


def test_the_figure_shows_counts_rate_and_mask(images: ImageSet, maps: np.ndarray, scores: np.ndarray) -> None:
    figure = views.draw_threshold(images, maps, scores, 0.5, 4)
    _, counts, roc, overlay = figure.axes
    assert [text.get_text() for text in counts.texts] == ["2", "1", "1", "2"]
    assert np.allclose(roc.lines[-1].get_xydata(), [[1 / 3, 2 / 3]])
    assert overlay.get_title() == "square, 0.800: alarm"
    assert np.array_equal(~overlay.images[1].get_array().mask, images[4][1].numpy())


def test_one_class_has_no_curve(images: ImageSet, maps: np.ndarray, scores: np.ndarray) -> None:
    roc = views.draw_threshold(images.subset([0, 1, 2]), maps[:3], scores[:3], 0.5, 0).axes[2]
    assert roc.get_title() == "ROC: undefined" and len(roc.lines) == 1


def test_the_browser_counts_within_a_kind(maps: np.ndarray, images: ImageSet) -> None:
    figure = views.draw_defect(images, maps, "square", 1)
    assert [axes.get_title() for axes in panels(figure)] == ["square, 2 of 3", "map, at most 0.800", "overlay"]
    assert np.array_equal(figure.axes[1].images[-1].get_array(), maps[4])
    with pytest.raises(ValueError, match="index must be from 0 to 2, got 3"):
        views.draw_defect(images, maps, "square", 3)
    with pytest.raises(ValueError, match="no image of defect 'hole'; there are good, square"):
        views.draw_defect(images, maps, "hole", 0)


def test_the_coupling_is_drawn_with_its_clamp_and_both_squares() -> None:
    curve, plane, density = views.draw_coupling(scale=0.8, shift=0.4, clamp=1.5).axes
    assert [line.get_ydata() for line in curve.lines[1:]] == [[-1.5, -1.5], [1.5, 1.5]]
    s = 1.5 * np.tanh(0.8 * np.linspace(-REACH, REACH, 200) / 1.5)
    assert np.allclose(curve.lines[0].get_ydata(), s, atol=1e-6)
    assert len(plane.patches) == 2 and density.images[0].get_array().shape == (160, 160)
