"""Reading image files and masks: what is converted, and the error for each file that cannot be used."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.small_category import open_small
from PIL import Image
from properties import given, st

from fastflow_lite.datasets.image_files import read_image, read_mask
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


def picture(mode: str, values: np.ndarray) -> Image.Image:
    wide = {"I": np.int32, "F": np.float32, "I;16": np.uint16}
    if mode in wide:
        return Image.fromarray((values.clip(0, 65535) if mode == "I;16" else values).astype(wide[mode]))
    plane = Image.fromarray(values.astype(np.uint8))
    bands = Image.getmodebands(mode)
    return Image.merge(mode, [plane] * bands) if bands > 1 else plane.convert(mode)


@pytest.mark.filterwarnings("ignore")  # Pillow warns on the way to its error
@given(st.binary(max_size=300), st.sampled_from(HEADS))
def test_bytes_that_are_no_image_are_refused_by_name(tmp_path: Path, content: bytes, head: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(head + content)
    with pytest.raises(DataError, match=r"odd\.png"):
        read_image(path)


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
