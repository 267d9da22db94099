"""Reading image files and masks: what is converted, and the error for each file that cannot be used."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.pictures import picture
from datasets.small_category import open_small
from PIL import Image
from properties import given, st

from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.errors import DataError


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


MODES = {
    "1": ".png", "L": ".png", "LA": ".png", "P": ".png", "RGB": ".bmp", "RGBA": ".png", "I;16": ".png",
    "I": ".tif", "F": ".tif", "CMYK": ".tif", "YCbCr": ".jpg", "LAB": ".tif",
}  # fmt: skip


HEADS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"GIF89a"]  # of image files


NAMES = ["with space", "Größe 画像", "a'b [0]* %41{b}", "-x\nline"]


@given(
    st.sampled_from(sorted(MODES)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(0, 255), (0, 65535), (-5, 70000), (7, 7)]),
    st.sampled_from(NAMES),
)
def test_an_image_of_any_mode_is_read_or_refused_by_name(
    tmp_path: Path, mode: str, size: tuple[int, int], ends: tuple[int, int], name: str
) -> None:
    path = tmp_path / (name + MODES[mode])
    values = np.random.default_rng(0).integers(ends[0], ends[1] + 1, size)
    picture(mode, values).save(path)
    too_wide = mode == "I" and (values.min() < 0 or values.max() > 65535)
    if mode in ("F", "CMYK", "LAB") or too_wide:
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_image(path)
        return
    image = read_image(path)
    assert image.shape == (3, *size)
    assert image.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    if mode in ("I", "I;16"):
        np.testing.assert_allclose(image[0].numpy() * 65535, values.clip(0, 65535), atol=0.01)


@pytest.mark.filterwarnings("ignore")  # Pillow warns on the way to its error
@given(st.binary(max_size=300), st.sampled_from(HEADS))
def test_bytes_that_are_no_image_are_refused_by_name(tmp_path: Path, content: bytes, head: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(head + content)
    with pytest.raises(DataError, match=r"odd\.png"):
        read_image(path)
