"""A result of an untrained model on a tiny data set, with and without masks."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot as plt

from fastflow_lite import FastFlow, Result, evaluate
from fastflow_lite.datasets import ImageSet, open_dataset

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def images(category: Path) -> ImageSet:
    """Three good images, then three squares, 64 x 48 pixels."""
    return open_dataset(category.parent, category.name, image_size=(64, 48)).test


@pytest.fixture
def result(category: Path, small_model: FastFlow) -> Result:
    data = open_dataset(category.parent, category.name, image_size=(64, 48))
    return evaluate(small_model, data.test, normal=data.train)


@pytest.fixture
def without_masks(category: Path, small_model: FastFlow) -> Result:
    """Good images only, so that nothing can be ranked."""
    shutil.rmtree(category / "ground_truth")
    data = open_dataset(category.parent, category.name, image_size=(64, 48))
    return evaluate(small_model, data.test.subset([0, 1, 2]))
