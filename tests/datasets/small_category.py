"""The small category of `conftest.category`, opened, for several tests."""

from pathlib import Path

from fastflow_lite.datasets import Data, open_dataset


def open_small(category: Path, size: int | tuple[int, int] = (64, 48)) -> Data:
    return open_dataset(category.parent, category.name, image_size=size)
