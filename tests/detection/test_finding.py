"""Map, mask and regions of one image at its own size."""

import numpy as np
import pytest

from fastflow_lite.detection import Finding, Region


def finding(small_map: np.ndarray, size: tuple[int, int], level: float = 0.4) -> Finding:
    return Finding("a.png", 0.9, 3.0, True, size, small_map.astype(np.float32), level)


def test_regions_are_boxes_in_pixels_of_the_image_highest_peak_first() -> None:
    values = np.zeros((6, 8))
    values[1:3, 1:4], values[2, 3] = 0.5, 0.6
    values[5, 7] = 0.8
    assert finding(values, (6, 8)).regions == [
        Region(5, 7, 1, 1, 1, pytest.approx(0.8)),
        Region(1, 1, 2, 3, 6, pytest.approx(0.6)),
    ]


def test_pixels_that_touch_at_a_corner_are_one_region_and_a_box_counts_its_own_pixels_only() -> None:
    values = np.zeros((5, 5))
    values[0, 0] = values[1, 1] = 0.5
    values[0, :] += np.array([0, 0, 0, 0, 0.7])
    areas = [(region.area, region.height, region.width) for region in finding(values, (5, 5)).regions]
    assert areas == [(1, 1, 1), (2, 2, 2)]


def test_the_map_has_the_size_of_the_image_and_the_mask_the_level() -> None:
    values = np.zeros((4, 4))
    values[:, 2:] = 1
    found = finding(values, (40, 80), level=0.5)
    assert found.map.shape == found.mask.shape == (40, 80) and found.map.dtype == np.float32
    assert found.mask[:, 40:].all() and not found.mask[:, :39].any()
    assert finding(values, (40, 80), level=1.0).mask[0, -1]


def test_an_image_without_a_high_pixel_has_no_region() -> None:
    found = finding(np.zeros((4, 4)), (8, 8))
    assert found.regions == [] and not found.mask.any()
