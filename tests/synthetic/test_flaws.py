"""Flaws: marked where they changed the image."""

import numpy as np

from fastflow_lite.synthetic.flaws import FLAWS, add_flaw


def test_flaws_are_marked_where_they_changed_the_image_and_nowhere_else(tiles: np.ndarray) -> None:
    x, y = np.meshgrid(np.arange(48, dtype=np.float32), np.arange(48, dtype=np.float32))
    image = tiles[1, 0, :48, :48] / np.float32(255)
    areas = []
    for seed in range(12 * len(FLAWS)):
        changed, where = add_flaw(np.random.default_rng(seed), image, tiles, x, y)
        difference = np.abs(changed - image).max(axis=2)
        assert (difference[where] > 0.06).all()
        assert (difference[~where] <= 0.06).all()
        areas.append(where.mean())
    assert np.mean(np.array(areas) > 0) > 0.6
    assert max(areas) < 0.5
