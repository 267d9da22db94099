"""Figures of noise painted into a latent."""

import numpy as np
import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.course import latent_views
from fastflow_lite.course.latent_edits import Edit, rectangle
from fastflow_lite.datasets import ImageSet


def test_the_difference_lies_where_it_was_painted(images: ImageSet, perturbed_model: FastFlow) -> None:
    figure = latent_views.draw_painter(perturbed_model, images[0][0], 0, top=3, left=2, side=3, strength=4.0, seed=1)
    before, after, difference = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[2:5])
    assert before.shape == (16, 12) and not np.array_equal(before, after)
    energy = difference**2
    assert energy[1:8, 0:7].sum() > 0.95 * energy.sum() > 0
    calm = latent_views.draw_painter(perturbed_model, images[0][0], 0, top=3, left=2, side=3, strength=0.0, seed=1)
    assert np.asarray(calm.axes[4].images[0].get_array()).max() < 1e-4


def test_an_edit_is_outlined_on_every_panel_and_larger_on_the_image() -> None:
    region, z, features = rectangle((4, 6), 1, 2, 2, 3), torch.randn(1, 5, 4, 6), torch.randn(1, 5, 4, 6)
    done = Edit(region, z, torch.where(region, z + 3, z), features, features + 0.1 * region)
    figure = latent_views.draw_edit(torch.rand(3, 16, 24), done, torch.rand(1, 4, 6), rectangle((4, 6), 0, 1, 4, 5))
    panels = figure.axes[:5]
    assert [len(axes.patches) for axes in panels] == [2] * 5
    assert [axes.patches[0].get_width() for axes in panels] == [12, 3, 3, 3, 3]
    assert [axes.patches[1].get_xy() for axes in panels[:2]] == [(3.5, -0.5), (0.5, -0.5)]
    energy, _, change = (np.asarray(axes.images[0].get_array()) for axes in panels[1:4])
    assert np.allclose(energy, z[0].square().mean(dim=0) / 2)
    low, high = panels[3].images[0].get_clim()
    assert high - low == pytest.approx(6) and high == pytest.approx(change.max()), "six decades"
    assert change[1, 2] == pytest.approx(np.log10(5 * 0.01), abs=1e-4) and change[0, 0] == pytest.approx(-30)
