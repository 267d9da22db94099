"""The thresholds of pixels side by side, on noise with a planted defect."""

import numpy as np
import pytest
import torch
from pixels import Computed, marked_by, overlap, row, spread

from fastflow_lite.scoring.pixel_iou import mean_iou_oracle


def part(seed: int, defect: bool) -> Computed:
    """Return what a model would give of three images: z of one scale, maps that are its energy, and masks."""
    z = torch.randn(3, 16, 12, 12, generator=torch.Generator().manual_seed(seed))
    masks = torch.zeros(3, 12, 12, dtype=torch.bool)
    if defect:
        masks[2, 3:7, 3:7] = True
        z = torch.where(masks[:, None], 5 * z, z)
    return Computed(z.square().mean(dim=1).numpy(), masks.numpy(), [z])


def test_a_plain_defect_is_marked_by_every_threshold_and_best_by_the_oracle() -> None:
    parts = [part(0, False), part(1, True), part(2, True)]
    marked, labels = marked_by(parts), np.array([False, False, True])
    oracle = mean_iou_oracle(parts[-1].masks, parts[-1].maps)[0]
    found = {name: overlap(of_parts[-1], parts[-1].masks) for name, of_parts in marked.items()}
    assert found["oracle"] == oracle == max(value for name, value in found.items() if "NFA" not in name)
    assert min(found.values()) > 0.3, found
    assert row("a", marked["NFA published"], parts, labels).endswith("| 0 % | 0 % | 100 % | 0.00 % |")


def test_the_spread_of_noise_is_that_of_chi_square() -> None:
    mean, deviation = (float(value) for value in spread(part(0, False)).split(" / "))
    assert (mean, deviation) == (pytest.approx(1, abs=0.05), pytest.approx(1, abs=0.2))
