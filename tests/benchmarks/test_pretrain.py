"""Pictures by formula, and the training that learns from them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fastflow_lite.backbones import Backbone, bundled_recipe
from fastflow_lite.synthetic.materials import FAMILIES, Material
from fastflow_lite.synthetic.scenes import FLAWS, GROUND, Outline, compose, spoil

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pretrain" / "train.py"
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
        changed, where = spoil(np.random.default_rng(seed), image, tiles, x, y)
        difference = np.abs(changed - image).max(axis=2)
        assert (difference[where] > 0.06).all()
        assert (difference[~where] <= 0.06).all()
        areas.append(where.mean())
    assert np.mean(np.array(areas) > 0) > 0.6
    assert max(areas) < 0.5


def train(folder: Path, name: str) -> list[str]:
    small = {"epochs": 3, "scenes": 64, "size": 32, "materials": 6, "pictures": 1, "outlines": 4, "batch": 32}
    options = [f"--{option}={value}" for option, value in small.items()]
    return [sys.executable, str(SCRIPT), "--out", str(folder / f"{name}.safetensors"), "--work", str(folder), *options]


def test_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    subprocess.run(train(tmp_path, "whole"), check=True, capture_output=True)
    broken = subprocess.Popen(train(tmp_path, "broken"), stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "broken.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(broken.pid, signal.SIGKILL)  # with the processes that draw, which would wait for ever
    broken.wait()
    assert not (tmp_path / "broken.safetensors").exists(), "the training ended before it could be killed"
    resumed = subprocess.run(train(tmp_path, "broken"), check=True, capture_output=True, text=True)
    assert "epoch 1/3" not in resumed.stdout
    whole, broken_state = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "broken.safetensors")
    assert whole.keys() == broken_state.keys()
    assert all(torch.equal(whole[name], broken_state[name]) for name in whole)
    assert Backbone("resnet18", tmp_path / "whole.safetensors").channels == [64, 128, 256]
    second = ["--start", str(tmp_path / "whole.safetensors"), "--objective=contrast", "--zoom=2", "--epochs=1"]
    done = subprocess.run([*train(tmp_path, "second"), *second], check=True, capture_output=True, text=True)
    assert "contrast" in done.stdout
    after = load_file(tmp_path / "second.safetensors")
    moved = torch.cat([(after[k].float() - whole[k].float()).flatten() for k in whole if "conv" in k])
    drawn = torch.cat([whole[k].float().flatten() for k in whole if "conv" in k])
    assert 0 < moved.norm() < 0.5 * drawn.norm(), "the second stage did not start where the first one ended"


def test_odd_places_of_products_are_part_of_the_training(tmp_path: Path) -> None:
    options = ["--objective=odd", "--zoom=1.6", "--epochs=1"]
    done = subprocess.run([*train(tmp_path, "odd"), *options, "--look=16"], check=True, capture_output=True, text=True)
    assert "odd" in done.stdout
    assert Backbone("resnet18", tmp_path / "odd.safetensors").channels == [64, 128, 256]
    refused = subprocess.run([*train(tmp_path, "no"), *options, "--look=24"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--look is 24, and has to be a multiple of 16" in refused.stderr


def test_bundled_recipe_can_be_followed() -> None:
    made = bundled_recipe()
    assert made["seconds"] > 0
    assert made["machine"]["processor"]
    text = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    options = {f"--{name.replace('_', '-')}" for name in made["recipe"]}
    assert options <= set(text.replace(",", " ").split())
