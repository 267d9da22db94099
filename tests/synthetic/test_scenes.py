"""Scenes: the labels of each pixel."""

import numpy as np

from fastflow_lite.synthetic.outlines import Outline
from fastflow_lite.synthetic.scenes import GROUND, compose


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


def test_objects_are_as_small_as_asked(tiles: np.ndarray) -> None:
    """From 0.05 of the side, twenty single objects are smaller in the mean than from 0.5."""

    def covered(smallest: float) -> float:
        scenes = [
            compose(np.random.default_rng(k), tiles, [Outline(0)], 48, objects=1, flaws=0, smallest=smallest)
            for k in range(20)
        ]
        return float(np.mean([(scene.outline != GROUND).mean() for scene in scenes]))

    assert 0 < 2 * covered(0.05) < covered(0.5)
