"""Masks: which file belongs to which image, what it marks, and the error for each that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.pictures import picture
from datasets.small_category import open_small
from PIL import Image

from fastflow_lite.datasets.masks import read_mask
from fastflow_lite.errors import DataError


def test_mask_of_another_size(category: Path) -> None:
    Image.new("L", (48, 60)).save(category / "ground_truth/square/002_mask.png")
    with pytest.raises(DataError, match=r"002_mask\.png is 48 x 60 pixels, its image .*002\.png is 48 x 64"):
        open_small(category).test[5]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_of_any_mode_marks_the_same_pixels(tmp_path: Path, mode: str) -> None:
    white = np.zeros((6, 9), np.uint8)
    white[2:4, 3:7] = 255
    path = tmp_path / "mask.png"
    picture(mode, white.astype(np.int64) * (257 if mode == "I;16" else 1)).save(path)
    assert torch.equal(read_mask(path, path, (6, 9)), torch.from_numpy(white > 0))


def test_a_mask_painted_too_dark_is_refused(tmp_path: Path) -> None:
    """Class numbers instead of white: taken as they are, they would mark nothing and pixel metrics would be wrong."""
    path = tmp_path / "mask.png"
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=r"mask\.png is never brighter than 1 of 255"):
        read_mask(path, path, (4, 4))
