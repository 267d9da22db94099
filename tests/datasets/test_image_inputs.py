"""Images of every kind become the same tensor, and what is no image is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastflow_lite.datasets.image_files import ImageFile
from fastflow_lite.datasets.image_inputs import is_one_image, named_images, part_of, read_input, resized, size_of
from fastflow_lite.datasets.image_set import ImageSet, Sample
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.errors import DataError

COLOR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
GRAY_16 = np.random.default_rng(1).integers(0, 4096, (20, 30), np.uint16)
SIZE = (8, 16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize(
    "image",
    [
        COLOR,
        COLOR[:, ::-1][:, ::-1],
        np.dstack([COLOR, np.full((20, 30), 7, np.uint8)]),
        (COLOR / 255).astype(np.float32),
        COLOR / 255,
        Image.fromarray(COLOR),
        torch.from_numpy(COLOR).permute(2, 0, 1),
        torch.from_numpy(COLOR).permute(2, 0, 1).double() / 255,
    ],
    ids=lambda image: type(image).__name__,
)
def test_every_kind_is_resized_as_the_file_is(image: Any, file: Path) -> None:
    expected = ImageFile(file).resized(SIZE)
    found = read_input("it", image)
    assert size_of(found) == (20, 30) and is_one_image(image)
    assert torch.allclose(resized(found, SIZE), expected, atol=1e-6, rtol=0)


def test_a_part_has_its_own_corner_and_size(file: Path) -> None:
    expected = torch.from_numpy(COLOR[3:10, 11:25].copy()).permute(2, 0, 1) / 255
    for image in (file, COLOR, torch.from_numpy(COLOR / 255).permute(2, 0, 1)):
        torch.testing.assert_close(part_of(read_input("it", image), 3, 11, 7, 14).float(), expected)


@pytest.mark.parametrize("image", [GRAY_16, GRAY_16[..., None], Image.fromarray(GRAY_16), GRAY_16 / 4095])
def test_gray_of_16_bits_is_divided_by_the_white_level_and_repeated(image: Any) -> None:
    found = resized(read_input("it", image, 4095), (20, 30))
    assert torch.allclose(found, torch.from_numpy(GRAY_16 / 4095).float().expand(3, -1, -1), atol=1e-6)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((20, 30, 3), np.int64), r"of int64"),
        (np.zeros((3, 20, 30), np.uint8), r"\(3, 20, 30\)"),
        (np.zeros((20, 30, 3), np.uint16), "several channels of 16 bits"),
        (np.zeros((0, 30), np.uint8), "must be"),
        (np.full((20, 30), np.nan), "NaN"),
        (np.full((20, 30), 1.5), "divide images of 8 bits"),
        (torch.zeros(20, 30, 3), r"\(20, 30, 3\)"),
        (torch.full((3, 4, 4), -0.1), "outside"),
        (None, "NoneType"),
        (Image.new("CMYK", (4, 4)), "mode CMYK"),
    ],
)
def test_what_is_no_image_is_refused_by_name(image: Any, reason: str) -> None:
    with pytest.raises(DataError, match=f"image 7.*{reason}"):
        read_input("image 7", image)


def test_an_image_is_turned_as_its_exif_demands_and_stays_as_it_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOR).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        assert size_of(read_input("it", picture)) == (30, 20) and picture.size == (30, 20)


def test_16_bits_without_a_white_level_are_refused() -> None:
    with pytest.raises(DataError, match="it has 16 bits"):
        read_input("it", GRAY_16, None)


def test_names_and_numbers_of_several_images(file: Path) -> None:
    folder = file.parent
    Image.fromarray(COLOR).save(folder / "b.png")
    both = [(str(file), file), (str(folder / "b.png"), folder / "b.png")]
    assert list(named_images(folder)) == list(named_images([folder])) == both
    assert list(named_images(ImageSet([Sample(file)], SIZE, folder))) == both[:1]
    assert [name for name, _ in named_images(image for image in [COLOR, str(file), COLOR])] == [
        "image 0",
        str(file),
        "image 2",
    ]
    assert [name for name, _ in named_images(np.zeros((2, 4, 4, 3)))] == ["image 0", "image 1"]
    assert [tuple(image.shape) for _, image in named_images(torch.zeros(2, 3, 4, 5))] == [(3, 4, 5)] * 2
    images = named_images(TensorSet(torch.zeros(2, 3, 4, 5), "it"))
    assert len(list(images)) == len(images) == 2  # type: ignore[arg-type]
    with Image.open(file) as opened:
        assert next(iter(named_images(opened)))[0] == str(file)


def test_something_else_is_refused() -> None:
    with pytest.raises(DataError, match=r"images must be a path.*got int"):
        named_images(3)
