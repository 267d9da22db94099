"""Regions against connected components at every level, probabilities against SciPy, alarms on noise and on defects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scipy.stats import chi2

from fastflow_lite.errors import ArgumentError
from fastflow_lite.scoring.false_alarms import (
    Regions,
    log_shapes,
    log_tail,
    log_tests,
    lowest_log_nfa,
    marked_pixels,
)

pytestmark = pytest.mark.cpu_only


def noise(images: int, seed: int = 0) -> list[torch.Tensor]:
    """Return z of two scales, N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, c, s, s, generator=generator) for c, s in ((16, 12), (32, 6))]


def test_the_tail_is_bounded_from_above_and_closely() -> None:
    z = torch.full((1, 64, 1, 50), 1.0, dtype=torch.float64) * torch.linspace(0.5, 4, 50)
    bound, exact = log_tail(z)[0, 0].numpy(), chi2.logsf(z.square().sum(dim=1)[0, 0].numpy(), 64)
    assert (bound >= exact).all()
    assert (bound - exact)[exact < -20].max() < 6
    assert (bound[(z[0, 0, 0] <= 1).numpy()] == 0).all()


def test_shapes_are_counted_as_the_polyominoes_that_they_are() -> None:
    counted = [1, 2, 6, 19, 63, 216, 760, 2725, 9910, 36446]
    assert np.exp(log_shapes(10)[5:]) == pytest.approx(counted[5:], rel=0.1)


def test_each_area_has_its_tests_and_the_published_number_is_that_of_all() -> None:
    published, by_area = log_tests([(4, 4), (2, 2)]), log_tests([(4, 4), (2, 2)], "by_area")
    total = sum(n * np.exp(log_shapes(n)).sum() for n in (16, 4))
    assert all(np.allclose(one, np.log(total)) for one in published)
    assert [len(one) for one in by_area] == [16, 4]
    assert np.exp(by_area[1]) == pytest.approx(2 * 4 * 4 * np.exp(log_shapes(4)))
    with pytest.raises(ArgumentError, match="kind must be one of 'published', 'by_area', got 'none'"):
        log_tests([(4, 4)], "none")


@pytest.mark.parametrize("levels", [1000, 5])
def test_regions_are_the_components_of_every_level(levels: int) -> None:
    values = np.random.default_rng(0).integers(levels, size=(7, 9)).astype(float)
    regions, complete = Regions.of(values), 0
    log_nfa = regions.log_nfa(np.full(values.shape, -2.0), np.arange(1.0, 64))  # area - 2 area
    for cell, value in enumerate(values.flat):
        parts = label(values >= value)[0]
        area, parent = (parts == parts.flat[cell]).sum(), regions.parent[cell]
        if parent < 0 or values.flat[parent] != value:
            complete += 1
            assert regions.area[cell] == area == -log_nfa[cell]
        else:  # of cells with one value, the last has the region
            assert log_nfa[cell] == np.inf
        assert parent < 0 or regions.area[parent] > regions.area[cell]
    assert complete and (regions.parent < 0).sum() == 1


def test_of_nested_regions_the_most_significant_is_marked() -> None:
    values = np.array([[1.0, 3, 4, 3, 1, 5]])
    regions = Regions.of(values)
    log_nfa = np.array([-1.0, -2, -3, -9, 5, -4])  # cell 3 closes the region of cells 1 to 3
    assert regions.marked(log_nfa)[0].tolist() == [False, True, True, True, False, True]
    assert regions.marked(log_nfa, level=-8)[0].tolist() == [False, True, True, True, False, False]
    assert not regions.marked(log_nfa, level=-9).any()


@pytest.mark.parametrize("kind", ["published", "by_area"])
def test_noise_gives_no_alarm_and_a_planted_region_is_marked(kind: str) -> None:
    z = noise(20)
    assert not marked_pixels(z, (48, 48), kind).any()
    z[0][3, :, 4:7, 2:8] *= 6
    found = marked_pixels(z, (48, 48), kind)
    assert found.any(dim=(1, 2)).nonzero().flatten().tolist() == [3]
    rows, columns = found[3].nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 27, 8, 31)


def test_levels_of_normal_images_silence_latents_that_are_not_gaussian() -> None:
    normal = [2 * z for z in noise(6)]
    assert marked_pixels(normal, (48, 48), "by_area").any(dim=(1, 2)).all()
    lowest = lowest_log_nfa(normal, "by_area")
    assert lowest.shape == (6, 2) and (lowest < 0).all()
    levels = lowest.min(axis=0).tolist()
    assert not marked_pixels(normal, (48, 48), "by_area", levels).any()
    normal[1][2, :, 2:4, 2:4] *= 4
    assert marked_pixels(normal, (48, 48), "by_area", levels)[2, 16:32, 16:32].any()
