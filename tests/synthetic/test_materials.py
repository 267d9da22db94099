"""Materials by formula: deterministic, and different from each other."""

import numpy as np
import pytest

from fastflow_lite.synthetic.materials import FAMILIES, Material

families = pytest.mark.parametrize("number", range(2 * len(FAMILIES)), ids=lambda k: f"{FAMILIES[k % 6].__name__}{k}")


@families
def test_material_is_deterministic_and_its_pictures_differ(number: int) -> None:
    first, again, other = (Material(number).render(np.random.default_rng(seed), 48) for seed in (0, 0, 1))
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.float32
    assert 0 <= first.min() < first.max() <= 1
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_two_materials_of_a_family_differ() -> None:
    one, two = (Material(k).render(np.random.default_rng(0), 48) for k in (1, 7))
    assert np.abs(one - two).mean() > 0.02
