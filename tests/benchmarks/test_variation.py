"""Other photographs of a normal image: near to it, reproducible, and of its shape."""

import numpy as np
from choose_parts.variation import GRAIN, LIGHT, TINT, vary


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
        assert abs(difference.mean()) < (LIGHT + TINT) * image.max() + GRAIN


def test_a_plain_image_stays_plain_but_for_light_and_grain() -> None:
    plain = np.full((64, 64, 3), 0.5)
    for seed in range(5):
        assert vary(np.random.default_rng(seed), plain).std(axis=(0, 1)).max() < 1.5 * GRAIN
