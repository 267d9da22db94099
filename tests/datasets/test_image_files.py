"""Reading image files and masks: what is converted, and the error for each file that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.small_category import open_small
from PIL import Image

from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.errors import DataError


def test_mask_of_another_size(category: Path) -> None:
    Image.new("L", (48, 60)).save(category / "ground_truth/square/002_mask.png")
    with pytest.raises(DataError, match=r"002_mask\.png is 48 x 60 pixels, its image .*002\.png is 48 x 64"):
        open_small(category).test[5]


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_image_that_does_not_decode(category: Path, content: bytes | None) -> None:
    path = category / "train/good/003.png"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(DataError, match=r"train/good/003\.png cannot be decoded"):
        open_small(category).train[3]


def test_grey_16_bit_palette_and_transparent_images_are_converted(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    grey = Image.fromarray(ramp)
    grey.save(tmp_path / "grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    grey.convert("P").save(tmp_path / "palette.png")
    clear = Image.merge("RGBA", [grey, grey, grey, Image.new("L", (8, 8), 7)])
    clear.save(tmp_path / "clear.png")
    expected = torch.from_numpy(ramp / np.float32(255)).expand(3, -1, -1)
    for name in ("grey", "deep", "palette", "clear"):
        assert torch.allclose(read_image(tmp_path / f"{name}.png"), expected, atol=1e-6), name


def test_other_modes_are_refused_by_name(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "print.jpg")
    with pytest.raises(DataError, match=r"print\.jpg has mode CMYK"):
        read_image(tmp_path / "print.jpg")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif has mode F"):
        read_image(tmp_path / "float.tif")
