"""A detector small enough to be made in every module, and a folder of pictures for it."""

from pathlib import Path

import pytest
import torch
from detection.pictures_of_parts import SIZE, as_tensor, picture
from PIL import Image
from tiny import Constant

from fastflow_lite import FastFlow
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector


@pytest.fixture(scope="session")
def part_model() -> FastFlow:
    """Over a backbone whose features are means of 16 x 16 pixels; ActNorm starts with normal pictures."""
    model = FastFlow(Constant(0.0, 10.0), steps=1, hidden=4, map="energy", normalize="none").train()
    with torch.no_grad():
        model(torch.stack([as_tensor(picture(200 + seed, *SIZE)) / 255 for seed in range(8)]))
    model.input_format = InputFormat(SIZE, 4095)
    return model.eval()


@pytest.fixture(scope="session")
def detector(part_model: FastFlow) -> Detector:
    """Calibrated on twenty normal pictures."""
    return Detector.calibrate(part_model, [picture(seed) for seed in range(20)])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures; the third has a spot."""
    place = tmp_path_factory.mktemp("pictures")
    for index in range(5):
        Image.fromarray(picture(100 + index, spot=index == 2)).save(place / f"{index}.png")
    return place
