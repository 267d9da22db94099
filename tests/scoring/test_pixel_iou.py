"""IoU against answers worked out by hand, and the oracle against every threshold tried in turn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastflow_lite.errors import ArgumentError
from fastflow_lite.scoring import pixel_iou
from fastflow_lite.scoring.pixel_iou import iou, mean_iou, mean_iou_oracle

pytestmark = pytest.mark.cpu_only  # NumPy alone


def random_images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks, the first without a defect, and maps with many ties that are a little higher in defects."""
    rng = np.random.default_rng(seed)
    masks = rng.random((5, 6, 7)) < 0.3
    masks[0] = False
    return masks, (rng.integers(9, size=masks.shape) + 3 * masks).astype(np.float32)


def test_iou_counts_pixels_of_both_and_of_either() -> None:
    mask = np.array([[1, 1, 0, 0]])
    assert iou(mask, [[0, 1, 1, 1]]) == 0.25
    assert iou(mask, mask) == 1
    assert iou(mask, ~mask.astype(bool)) == 0
    assert math.isnan(iou(np.zeros((2, 2)), np.zeros((2, 2))))
    with pytest.raises(ArgumentError, match=r"mask \(1, 4\) but marked pixels \(2, 2\)"):
        iou(mask, np.zeros((2, 2)))


def test_the_mean_is_over_defective_images_and_a_pixel_at_the_threshold_is_marked() -> None:
    masks = [[[1, 0]], [[0, 0]], [[1, 1]]]
    maps = [[[0.5, 0.5]], [[9, 9]], [[0.5, 0.4]]]
    assert mean_iou(masks, maps, 0.5) == 0.5
    assert mean_iou(masks, maps, 0.51) == 0
    assert mean_iou(np.array(masks)[:, None], np.array(maps)[:, None], 0.4) == 0.75


def test_the_oracle_is_the_best_of_all_thresholds() -> None:
    for seed in range(10):
        masks, maps = random_images(seed)
        best, threshold = mean_iou_oracle(masks, maps)
        assert best == pytest.approx(max(mean_iou(masks, maps, value) for value in np.unique(maps)))
        assert best == pytest.approx(mean_iou(masks, maps, threshold))


def test_a_few_candidates_come_close(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((3, 40, 40), bool)
    masks[:, 10:30, 10:30] = True
    maps = rng.normal(size=masks.shape) + 2 * masks
    exact, _ = mean_iou_oracle(masks, maps)
    monkeypatch.setattr(pixel_iou, "CANDIDATES", 50)
    found, threshold = mean_iou_oracle(masks, maps)
    assert exact - 0.01 < found <= exact and found == pytest.approx(mean_iou(masks, maps, threshold))


def test_undefined_is_nan() -> None:
    masks, maps = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    assert math.isnan(mean_iou(masks, maps, 0))
    assert all(math.isnan(value) for value in mean_iou_oracle(masks, maps))
    assert math.isnan(mean_iou(masks + 1, maps, math.nan))
    assert all(math.isnan(value) for value in mean_iou_oracle([], []))
