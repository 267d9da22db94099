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


def saved(path: Path, values: np.ndarray, *channels: np.ndarray) -> Path:
    """Write `values`, or channels of which `values` is the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([values, *channels], axis=-1) if channels else values).save(path)
    return path


SPOT = np.zeros((6, 9), np.uint8)
SPOT[2:4, 3:7] = 255
BLACK, WHITE = np.zeros_like(SPOT), np.full_like(SPOT, 255)


@pytest.mark.parametrize("high", [1, 255, 1000, 4095, 32767])
def test_a_mask_of_low_16_bit_values_is_refused(tmp_path: Path, high: int) -> None:
    path = saved(tmp_path / "mask.png", (SPOT > 0).astype(np.uint16) * high)
    with pytest.raises(DataError, match=rf"mask\.png is never brighter than {high} of 65535.*paint defects white"):
        read_mask(path, path, SPOT.shape)


def test_a_16_bit_mask_with_a_background_above_zero_marks_its_white_only(tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.png", np.where(SPOT > 0, 65535, 300).astype(np.uint16))
    assert torch.equal(read_mask(path, path, SPOT.shape), torch.from_numpy(SPOT > 0))


RGB = [(SPOT, BLACK, BLACK), (BLACK, BLACK, SPOT)]
WITH_ALPHA = [(WHITE, SPOT), (SPOT, SPOT), (SPOT, WHITE), (SPOT, BLACK)]
RGB_AND_ALPHA = [(BLACK, BLACK, BLACK, SPOT), (WHITE, WHITE, WHITE, SPOT), (SPOT, BLACK, BLACK, SPOT)]


@pytest.mark.parametrize("channels", RGB + WITH_ALPHA + RGB_AND_ALPHA)
def test_paint_of_any_color_and_paint_in_the_alpha_channel_marks(
    tmp_path: Path, channels: tuple[np.ndarray, ...]
) -> None:
    path = saved(tmp_path / "mask.png", *channels)
    assert torch.equal(read_mask(path, path, SPOT.shape), torch.from_numpy(SPOT > 0))


def test_white_that_is_transparent_marks_nothing(tmp_path: Path) -> None:
    clear = np.where(np.arange(9) < 5, 255, 0).astype(np.uint8) * np.ones_like(SPOT)
    path = saved(tmp_path / "mask.png", SPOT, clear)
    assert torch.equal(read_mask(path, path, SPOT.shape), torch.from_numpy((SPOT > 0) & (clear > 0)))


def test_a_gray_level_that_is_transparent_marks_nothing(tmp_path: Path) -> None:
    values = np.where(SPOT > 0, 200, SPOT)
    values[0, 0] = 255
    Image.fromarray(values).save(tmp_path / "mask.png", transparency=255)
    assert torch.equal(read_mask(tmp_path / "mask.png", tmp_path / "mask.png", SPOT.shape), torch.from_numpy(SPOT > 0))


def test_a_mask_of_another_mode_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    Image.fromarray(SPOT.astype(np.float32)).save(path)
    with pytest.raises(DataError, match=r"mask\.tif has mode F"):
        read_mask(path, path, SPOT.shape)


def test_a_defect_whose_mask_marks_nothing_is_refused(category: Path) -> None:
    saved(category / "ground_truth/square/001_mask.png", np.zeros((64, 48), np.uint8))
    test = open_small(category).test
    with pytest.raises(DataError, match=r"001_mask\.png marks nothing, but its image .*001\.png is a defect \(square"):
        test[4]


@pytest.mark.parametrize("name", ["001_mask.PNG", "001_MASK.Png", "001.TIF", "001.bmp"])
def test_a_mask_is_found_whatever_its_case(category: Path, name: str) -> None:
    old = category / "ground_truth/square/001_mask.png"
    Image.open(old).save(old.with_name("new.png"))
    Image.open(old.with_name("new.png")).save(old.with_name(name))
    old.unlink()
    assert open_small(category).test[4][1].sum() == 16 * 20


def test_images_that_differ_by_case_have_their_own_masks(category: Path) -> None:
    for part, end in (("test", ".png"), ("ground_truth", "_mask.png")):
        for old, new in (("000", "a"), ("001", "A")):
            (category / part / "square" / (old + end)).rename(category / part / "square" / (new + end))
    assert [s.mask.name for s in open_small(category).test.samples[3:]] == ["002_mask.png", "A_mask.png", "a_mask.png"]


def test_two_images_never_share_a_mask_nor_has_one_image_two(category: Path) -> None:
    test, masks = category / "test/square", category / "ground_truth/square"
    (test / "002.png").rename(test / "000.jpg")
    with pytest.raises(DataError, match=r"000\.jpg and .*000\.png have the same mask .*000_mask\.png"):
        open_small(category)
    (test / "000.jpg").rename(test / "002.png")
    (masks / "001_mask.bmp").write_bytes((masks / "001_mask.png").read_bytes())
    with pytest.raises(DataError, match=r"001\.png has two masks, .*001_mask\.bmp and .*001_mask\.png"):
        open_small(category)


def test_the_masks_in_a_folder_are_united(category: Path) -> None:
    """The layout of MVTec LOCO: a folder of masks for each image."""
    masks = category / "ground_truth/square"
    before = open_small(category).test.fingerprint()
    (masks / "001_mask.png").rename(masks / "old.png")
    for k, column in enumerate((5, 40)):
        part = np.zeros((64, 48), np.uint8)
        part[10:20, column : column + 4] = 254
        saved(masks / f"001/{k:03d}.png", part)
    test = open_small(category).test
    assert test[4][1].sum() == 2 * 40
    assert test[4][1][10:20, [5, 43]].all()
    changed = test.fingerprint()
    saved(masks / "001/001.png", np.full((64, 48), 255, np.uint8))
    assert len({before, changed, test.fingerprint()}) == 3


def test_a_defect_smaller_than_a_pixel_of_the_resized_image_stays_marked(category: Path) -> None:
    mask = np.zeros((64, 48), np.uint8)
    mask[33, 21] = 255
    saved(category / "ground_truth/square/000_mask.png", mask)
    resized = open_small(category, (8, 6)).test[3][1]
    assert torch.equal(resized.nonzero(), torch.tensor([[4, 2]]))
