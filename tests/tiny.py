"""Networks and sets small enough for tests that make many models, and a papermill that starts soon."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fastflow_lite import FastFlow

# `python -m papermill`, begun in a quarter of the time.
PAPERMILL = """
from fastflow_lite.batch.quick_import import without_grammar
with without_grammar():
    from papermill.cli import papermill
papermill()
"""


class Constant(nn.Module):
    """A backbone whose features are `level`, the image times `gain` added."""

    def __init__(self, level: float, gain: float) -> None:
        super().__init__()
        self.level, self.gain = level, gain

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.level + self.gain * nn.functional.avg_pool2d(x, 16).repeat(1, 2, 1, 1)]


class TwoLevels(nn.Module):
    """A backbone of two maps with 4 and 6 channels, strides 4 and 8, of fixed random weights."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.fine, self.coarse = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 6, 2, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.fine(x).relu()
        return [fine, self.coarse(fine).relu()]


def started(model: FastFlow, height: int = 64, width: int = 64) -> FastFlow:
    """Return `model` after one batch in training mode has set its ActNorms, as the first step of a training does."""
    with torch.no_grad():
        model.train()(torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0)).to(model.device))
    return model


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the default values of the arguments of `function`: results depend on them, so they change on purpose."""
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def tiny_detector(folder: Path) -> Path:
    """Save a detector of images of 64 x 64 pixels, `folder/part.safetensors`: smooth ones are normal, `spotted` not."""
    from fastflow_lite.detection import Detector

    model = FastFlow("resnet18", weights="bundled", steps=1, hidden=8)
    with torch.no_grad():
        model.train()(torch.stack([torch.from_numpy(part / 255).float().permute(2, 0, 1) for part in parts(8)]))
    normal, spotted = list(parts(4, seed=1)), list(parts(4, seed=2, spot=True))
    detector = Detector.calibrate(model, normal, size=(64, 64), rule="quantile")
    highest, lowest = (pick(f.raw_score for f in detector(ps)) for pick, ps in ((max, normal), (min, spotted)))
    assert highest < lowest
    detector = Detector.calibrate(model, normal, size=(64, 64), rule=(highest + lowest) / 2)
    detector.save(folder / "part.safetensors")
    return folder / "part.safetensors"


def parts(count: int, seed: int = 0, spot: bool = False, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Return pictures `(count, H, W, 3)` uint8 of a smooth surface, with a bright spot or without."""
    rng = np.random.default_rng(seed)
    height, width = size
    slope = np.linspace(60, 120, width)[None, None, :, None] + rng.uniform(-8, 8, (count, 1, 1, 1))
    pictures = slope + rng.normal(0, 4, (count, height, width, 3))
    if spot:
        pictures[:, height // 3 : height // 2, width // 3 : width // 2] = 255
    return pictures.clip(0, 255).astype(np.uint8)


def striped_category(folder: Path) -> Path:
    """Draw a tiny category in MVTec layout: striped 64 x 48 images, one kind of defect (a bright square)."""
    rng = np.random.default_rng(0)
    for part, count in (("train/good", 6), ("test/good", 3), ("test/square", 3)):
        (folder / part).mkdir(parents=True)
        for k in range(count):
            image = (np.arange(48)[None, :, None] * 20 + rng.integers(0, 60, (64, 48, 3))) % 200
            if part == "test/square":
                image[20:36, 10:30] = 255
            Image.fromarray(image.astype(np.uint8)).save(folder / part / f"{k:03d}.png")
    mask = np.zeros((64, 48), np.uint8)
    mask[20:36, 10:30] = 255
    (folder / "ground_truth/square").mkdir(parents=True)
    for k in range(3):
        Image.fromarray(mask).save(folder / f"ground_truth/square/{k:03d}_mask.png")
    return folder
