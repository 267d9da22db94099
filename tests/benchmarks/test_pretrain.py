"""The training that learns from pictures by formula."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fastflow_lite.backbones import Backbone, bundled_recipe

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pretrain" / "train.py"


def train(folder: Path, name: str) -> list[str]:
    small = {"epochs": 3, "scenes": 64, "size": 32, "materials": 6, "pictures": 1, "outlines": 4, "batch": 32}
    options = [f"--{option}={value}" for option, value in small.items()]
    return [sys.executable, str(SCRIPT), "--out", str(folder / f"{name}.safetensors"), "--work", str(folder), *options]


@pytest.mark.long
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


@pytest.mark.long
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
