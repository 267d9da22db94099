"""Values before and after a flow."""

import numpy as np
import pytest
import torch

from fastflow_lite.figures import latents
from fastflow_lite.figures.style import ANOMALOUS, NORMAL


def test_a_channel_has_all_its_values_in_a_row() -> None:
    maps = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert latents.by_channel(maps)[1].tolist() == [4, 5, 6, 7, 16, 17, 18, 19]


def test_values_beyond_the_reach_are_counted_in_the_outermost_bins() -> None:
    x, z = torch.full((10,), 100.0), torch.zeros(10)
    figure = latents.channel_histograms({"row": {"a": (x, z), "b": (z, x)}})
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"] and figure.axes[0].get_ylabel() == "row"
    before, _ = figure.axes[0].containers
    assert [bar.get_height() * bar.get_width() for bar in before][-1] == pytest.approx(1)


def test_a_normal_channel_lies_on_the_diagonal() -> None:
    normal = torch.tensor(np.random.default_rng(0).normal(size=(3, 20_000)))
    axes = latents.qq_plots({"scale": (3 * normal, normal)}).axes[0]
    before, after = (next(line for line in axes.lines if line.get_label() == n) for n in ("before: x", "after: z"))
    assert (before.get_color(), after.get_color()) == (NORMAL, ANOMALOUS)
    assert after.get_ydata() == pytest.approx(after.get_xdata(), abs=0.1)
    assert before.get_ydata() == pytest.approx(3 * before.get_xdata(), abs=0.3)


def test_pairs_share_both_ranges_with_the_diagonal() -> None:
    x, y = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 10.0])
    axes = latents.paired_values({"p": (x, y)}, "x", "y").axes[0]
    diagonal, dots = axes.lines
    assert dots.get_xydata().tolist() == [[0, 2], [1, 10]]
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata()) and axes.get_xlim() == axes.get_ylim()
    assert axes.get_xlim() == pytest.approx((-0.5, 10.5))
