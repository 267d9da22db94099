"""Images with maps and scores that tests of views share, and a model whose latents can be edited."""

from functools import cache

import numpy as np
import pytest

from fastflow_lite import FastFlow
from fastflow_lite.course import checks
from fastflow_lite.datasets import ImageSet


@pytest.fixture
def scores() -> np.ndarray:
    """Scores of the `images`, two of them on the wrong side of 0.5."""
    return np.array([0.1, 0.3, 0.6, 0.4, 0.8, 0.9])


@pytest.fixture
def maps(images: ImageSet, scores: np.ndarray) -> np.ndarray:
    """Constant maps of good images, and maps that are high on the square; `scores` are their highest pixels."""
    levels = scores[:, None, None]
    masks = np.stack([images[index][1].numpy() for index in range(len(images))])
    return np.where(masks | ~masks.any(axis=(1, 2), keepdims=True), levels, 0.01)


@cache
def _perturbed() -> FastFlow:
    model = FastFlow("resnet18", weights="bundled", steps=2, hidden=16)
    checks.perturb(model.get_submodule("flows"), 0.05, seed=0)
    return model.eval()


@pytest.fixture
def perturbed_model() -> FastFlow:
    """A model whose flow is not the identity; tests must not change it."""
    return _perturbed()
