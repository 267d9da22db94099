"""Other photographs of a normal image: near to it, reproducible, and of its shape."""

import numpy as np
from choose_parts.variation import CURVE, GRAIN, LIGHT, SLOPE, TINT, as_jpeg, slope, vary


def checkered(height: int = 96, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.repeat((0.3 + 0.4 * ((y // 16 + x // 16) % 2))[..., None], 3, axis=2)


def test_the_same_generator_gives_the_same_photograph() -> None:
    image = checkered()
    one, same, other = (vary(np.random.default_rng(seed), image) for seed in (1, 1, 2))
    assert one.shape == image.shape and one.min() >= 0 and one.max() <= 1
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_it_differs_a_little_and_everywhere() -> None:
    image = checkered()
    for seed in range(5):
        difference = vary(np.random.default_rng(seed), image) - image
        assert 0 < np.abs(difference).mean() < 0.08
        assert abs(difference.mean()) < (LIGHT + TINT + CURVE) * image.max() + GRAIN


def test_a_plain_image_stays_plain_but_for_light_and_grain() -> None:
    """In the middle; towards the border the light changes by at most `SLOPE` in a direction."""
    plain = np.full((64, 64, 3), 0.5)
    for seed in range(5):
        varied = vary(np.random.default_rng(seed), plain)
        assert varied[24:40, 24:40].std(axis=(0, 1)).max() < 2 * GRAIN
        assert varied.std(axis=(0, 1)).max() < 0.5 * SLOPE + 2 * GRAIN


def test_the_lamp_changes_no_light_on_the_whole() -> None:
    light = slope(np.random.default_rng(0), 40, 60)
    assert light.shape == (40, 60, 1) and abs(light.mean() - 1) < 1e-9
    assert 0 < np.ptp(light) <= 2 * np.sqrt(2) * SLOPE


def test_a_jpeg_file_changes_little_and_less_with_more_quality() -> None:
    image = 0.5 * checkered() + 0.2 * np.random.default_rng(0).random((96, 64, 1))
    low, high = (np.abs(as_jpeg(image, quality) - image).mean() for quality in (30, 95))
    assert 0 < high < low < 0.05
