"""Planted defects of the choice without test labels."""

import numpy as np
import pytest
from choose_parts.planted import FAMILIES, VISIBLE, object_weights, plant

Array = np.ndarray


def disc(size: int = 128) -> Array:
    """Return a gray disc with rings and grain on a plain ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size - 0.5
    radius = np.hypot(y, x)
    gray = np.where(radius < 0.3, 0.5 + 0.2 * np.sin(60 * radius), 0.9) + rng.normal(0, 0.005, (size, size))
    return np.repeat(gray[..., None], 3, axis=2).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_defect_is_where_its_mask_is_and_nowhere_else(family: str) -> None:
    image = disc()
    for seed, strength in enumerate((0.2, 0.6, 1.0)):
        changed, mask = plant(np.random.default_rng(seed), image, family, strength)
        difference = np.abs(changed - image).max(axis=2)
        assert mask.any()
        assert mask.mean() < 0.2, f"{family} covers {mask.mean():.2f} of the image"
        assert difference[mask].mean() > 3 * difference[~mask].mean()
        assert difference[mask].max() > VISIBLE
        assert changed.min() >= 0 and changed.max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_gives_one_defect(family: str) -> None:
    first, again, other = (plant(np.random.default_rng(seed), disc(), family, 0.5)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"displaced", "paste"}))
def test_a_stronger_defect_changes_more(family: str) -> None:
    changes = []
    for strength in (0.1, 1.0):
        pairs = [(disc(), plant(np.random.default_rng(seed), disc(), family, strength)[0]) for seed in range(4)]
        changes.append(np.mean([np.abs(changed - image).mean() for image, changed in pairs]))
    assert changes[1] > 1.3 * changes[0]


def test_defects_lie_on_the_object() -> None:
    weights = object_weights(disc())
    y, x = np.mgrid[:32, :32] / 32 - 0.484
    on_object = np.hypot(y, x) < 0.3
    assert weights[on_object].mean() > 0.5
    assert weights[np.hypot(y, x) > 0.36].max() == 0


def test_a_larger_image_has_the_same_defect() -> None:
    centers = []
    for size in (128, 192):
        _, mask = plant(np.random.default_rng(3), disc(size), "color", 0.8)
        centers.append(np.argwhere(mask).mean(axis=0) / size)
    assert np.abs(centers[0] - centers[1]).max() < 1.5 / 32  # cells of the grid that places are drawn on
