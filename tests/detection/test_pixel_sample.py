"""A bounded number of pixels: all of them while they are few, else every k-th."""

import numpy as np

from fastflow_lite.detection.pixel_sample import PixelSample


def test_few_pixels_are_all_kept_in_a_copy() -> None:
    sample, array = PixelSample(100), np.arange(12.0).reshape(3, 4)
    sample.add(array)
    sample.add(array[:1], array[:1] > 1)
    array[:] = -1
    assert sample.values().tolist() == [*range(12), 2, 3]
    assert sample.step == 1


def test_many_pixels_are_thinned_evenly() -> None:
    sample, values = PixelSample(1000), np.random.default_rng(0).random((40, 50, 50))
    for part in values:
        sample.add(part)
        assert len(sample.values()) <= 1000
    assert sample.step == 128
    assert abs(np.quantile(sample.values(), 0.9) - 0.9) < 0.03


def test_one_large_array_is_never_copied_whole() -> None:
    sample = PixelSample(10)
    sample.add(np.broadcast_to(np.float32(1), (10**6,)).reshape(1000, 1000))
    assert sample.values().size <= 10


def test_masks_and_maps_stay_together() -> None:
    maps, masks = PixelSample(50), PixelSample(50)
    for seed in range(5):
        values = np.random.default_rng(seed).random((7, 9))
        maps.add(values, values > 0.2)
        masks.add(values > 0.5, values > 0.2)
    assert ((maps.values() > 0.5) == masks.values()).all()


def test_as_many_pixels_as_may_be_are_kept_whole() -> None:
    once, twice = PixelSample(6), PixelSample(6)
    once.add(np.arange(6))
    twice.add(np.arange(3))
    twice.add(np.arange(3, 6))
    assert once.values().tolist() == twice.values().tolist() == list(range(6))
    assert once.step == twice.step == 1
    once.add(np.arange(6, 7))
    assert (once.values().tolist(), once.step) == ([0, 2, 4, 6], 2)
