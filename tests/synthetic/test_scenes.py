"""Scenes: outlines, the labels of each pixel, and flaws."""

import numpy as np
import pytest

from fastflow_lite.synthetic.flaws import FLAWS, add_flaw
from fastflow_lite.synthetic.outlines import Outline
from fastflow_lite.synthetic.scenes import GROUND, compose


@pytest.mark.parametrize("number", range(12))
def test_outline_has_an_inside_and_an_outside(number: int) -> None:
    axis = np.linspace(-3, 3, 61, dtype=np.float32)
    distance = Outline(number).distance(*np.meshgrid(axis, axis))
    assert 0.005 < (distance < 0).mean() < 0.5
    border = np.concatenate([distance[0], distance[-1], distance[:, 0], distance[:, -1]])
    assert (border > 0).all()


def test_scene_knows_its_pixels(tiles: np.ndarray) -> None:
    outlines = [Outline(k) for k in range(9)]
    scenes = [compose(np.random.default_rng(k), tiles, outlines, 48, objects=3, flaws=2) for k in range(20)]
    for scene in scenes:
        assert scene.image.shape == (48, 48, 3)
        assert scene.material.shape == scene.outline.shape == scene.flaw.shape == (48, 48)
        assert 0 <= scene.image.min() <= scene.image.max() <= 1
        assert set(np.unique(scene.material)) <= set(range(8))
        assert set(np.unique(scene.outline)) <= set(range(10))
        assert len(np.unique(scene.material[scene.outline == GROUND])) <= 1
    assert any(scene.flaw.any() for scene in scenes)
    assert any((scene.outline != GROUND).any() for scene in scenes)
    again = compose(np.random.default_rng(3), tiles, outlines, 48, objects=3, flaws=2)
    assert np.array_equal(again.image, scenes[3].image)


def test_without_objects_and_flaws_a_scene_is_one_material(tiles: np.ndarray) -> None:
    scene = compose(np.random.default_rng(0), tiles, [Outline(0)], 48, objects=0, flaws=0)
    assert len(np.unique(scene.material)) == 1
    assert (scene.outline == GROUND).all()
    assert not scene.flaw.any()


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
