"""Folders in MVTec layout: what is accepted, and the error for each thing that is missing."""

import shutil
from pathlib import Path

import pytest
import torch
from datasets.small_category import open_small
from PIL import Image

from fastflow_lite.datasets import open_dataset
from fastflow_lite.errors import DataError


def test_layout_is_read(category: Path) -> None:
    data = open_small(category)
    assert (data.name, data.category) == ("set", "stripes")
    assert len(data.train) == 6
    assert not data.train.labels.any()
    assert data.test.labels.tolist() == [False] * 3 + [True] * 3
    assert data.test.defects == ["good"] * 3 + ["square"] * 3
    image, mask = data.test[4]
    assert image.shape == (3, 64, 48)
    assert image.dtype == torch.float32
    assert mask.sum() == 16 * 20
    assert torch.equal(image[:, mask], torch.ones(3, 320))


def test_a_folder_may_have_no_masks_at_all(category: Path) -> None:
    shutil.rmtree(category / "ground_truth")
    assert not open_small(category).test.has_masks


@pytest.mark.parametrize("part", ["train/good", "test/good"])
def test_empty_folder(category: Path, part: str) -> None:
    for file in (category / part).iterdir():
        file.unlink()
    with pytest.raises(DataError, match=f"{part} holds no image"):
        open_small(category)


def test_no_test_folder(category: Path) -> None:
    shutil.rmtree(category / "test")
    with pytest.raises(DataError, match="test is missing"):
        open_small(category)


def test_image_without_its_mask(category: Path) -> None:
    (category / "ground_truth/square/001_mask.png").unlink()
    with pytest.raises(DataError, match=r"test/square/001\.png has no mask.*001_mask\.png is missing"):
        open_small(category)


@pytest.mark.realdata
def test_mvtec_bottle(real_data: Path) -> None:
    data = open_dataset("mvtec", "bottle", root=real_data)
    assert (len(data.train), len(data.test), int(data.test.labels.sum())) == (209, 83, 63)
    image, mask = data.test[0]
    assert image.shape == (3, 256, 256)
    assert 0 < mask.float().mean() < 0.5


def test_btad_says_ok_and_ko_mixes_suffixes_and_names_masks_as_images(tmp_path: Path) -> None:
    folder = tmp_path / "btad" / "01"
    for place in ("train/ok/0.bmp", "test/ok/0.bmp", "test/ko/0.bmp", "test/ko/1.png", "ground_truth/ko/1.bmp"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (200, 0, 0)).save(folder / place)
    Image.new("L", (32, 32), 255).save(folder / "ground_truth/ko/0.png")
    data = open_dataset("btad", "01", root=tmp_path, image_size=32)
    assert (data.name, data.category) == ("btad", "01")
    assert not data.train.labels.any()
    assert data.test.defects == ["ko", "ko", "good"]
    assert [s.mask.name for s in data.test.samples[:2]] == ["0.png", "1.bmp"]
    assert data.test[0][1].all() and not data.test[2][1].any()


def test_wrong_category_lists_those_that_are_there(category: Path) -> None:
    with pytest.raises(DataError, match="there are the categories stripes"):
        open_dataset(category.parent, "spots")
