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


def test_normal_images_alone_are_a_data_set(category: Path) -> None:
    shutil.rmtree(category / "test")
    data = open_small(category)
    assert (len(data.train), len(data.test), data.test.has_masks) == (6, 0, True)
    (category / "test").mkdir()
    with pytest.raises(DataError, match=r"test holds no folder of images.*remove it to train without a test set"):
        open_small(category)


@pytest.mark.parametrize("name", ["Good", "OK", "normal", "Pass", "IO", "i.O.", "Non-Defective", "合格"])
def test_normal_folders_are_known_by_the_names_of_industry(category: Path, name: str) -> None:
    (category / "test/good").rename(category / "test" / name)
    (category / "train/good").rename(category / "train" / name)
    data = open_small(category)
    assert len(data.train) == 6
    assert sorted(data.test.defects) == ["good"] * 3 + ["square"] * 3
    assert data.test.labels.sum() == 3


@pytest.mark.parametrize("name", ["NOK", "n.i.O.", "NG", "not ok", "abnormal", "good2bad"])
def test_other_names_are_defects(category: Path, name: str) -> None:
    for part in ("test", "ground_truth"):
        (category / part / "square").rename(category / part / name)
    assert sorted(set(open_small(category).test.defects)) == sorted(["good", name])


def test_a_test_set_without_a_normal_image_is_told(category: Path) -> None:
    shutil.rmtree(category / "ground_truth")
    (category / "test/good").rename(category / "test/flawless")
    with pytest.warns(UserWarning, match=r"no normal image.*flawless, square.*name it good"):
        assert open_small(category).test.labels.all()


def test_all_normal_folders_are_read_and_others_named(category: Path) -> None:
    shutil.copytree(category / "train/good", category / "train/OK")
    shutil.copytree(category / "train/good", category / "train/good/second camera")
    assert len(open_small(category).train) == 18
    (category / "train/scratch").mkdir()
    with pytest.warns(UserWarning, match=r"not used: the images in scratch of .*train"):
        assert len(open_small(category).train) == 18
    for name in ("good", "OK"):
        shutil.rmtree(category / "train" / name)
    with pytest.raises(DataError, match=r"train holds no folder of normal images, only scratch: name it good"):
        open_small(category)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("test/square/Good", "defects"), ("test/square/day/ok", "defects"), ("train/good/bad", "normal"),
     ("test/good/n.i.O.", "normal")],
)  # fmt: skip
def test_a_subfolder_named_as_the_contrary_is_refused(category: Path, name: str, kind: str) -> None:
    shutil.copytree(category / "train/good", category / name)
    with pytest.raises(DataError, match=rf"folder .*{name} lies in .*would count as {kind}: move it out"):
        open_small(category)


@pytest.mark.parametrize("name", ["train", "train/good", "test", "test/good", "ground_truth", "ground_truth/square"])
def test_a_file_in_the_place_of_a_folder_is_refused(category: Path, name: str) -> None:
    shutil.rmtree(category / name)
    (category / name).write_text("")
    with pytest.raises(DataError, match=rf"{name} is a file, but a folder of images is expected there"):
        open_small(category)


def test_a_mask_among_the_images_is_no_image(category: Path) -> None:
    shutil.copy(category / "ground_truth/square/001_mask.png", category / "test/square/001_mask.png")
    with pytest.raises(DataError, match=r"test/square/001_mask\.png is named as a mask.*move it below ground_truth"):
        open_small(category)


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_beside_the_folders_are_refused(category: Path, part: str) -> None:
    shutil.copy(category / "train/good/000.png", category / part / "000.png")
    with pytest.raises(DataError, match=rf"image .*{part}/000\.png is in no folder that names its kind"):
        open_small(category)


def test_folders_of_any_case_are_found_and_what_is_hidden_is_left_out(category: Path) -> None:
    for part in ("train", "test", "ground_truth"):
        (category / part).rename(category / part.title())
    (category / "Ground_Truth/square").rename(category / "Ground_Truth/SQUARE")
    for name in (".DS_Store", "Thumbs.db", "square.txt"):
        (category / "Test" / name).write_text("")
    (category / "Test/.cache").mkdir()
    data = open_small(category)
    assert (len(data.train), len(data.test), data.test.has_masks) == (6, 6, True)
    assert data.test[5][1].sum() == 16 * 20
    with pytest.raises(DataError, match="there are the categories stripes"):
        open_dataset(category.parent, "spots")
    for name in ("TEST", "TeSt"):
        (category / name).mkdir()
        with pytest.raises(DataError, match=r"TEST and .*T(eSt|est) differ by case only"):
            open_small(category)


def test_test_images_in_subfolders_have_their_masks_at_the_same_place(category: Path) -> None:
    for part, name in (("test", "001.png"), ("ground_truth", "001_mask.png")):
        (category / part / "square/night").mkdir()
        (category / part / "square" / name).rename(category / part / "square/night" / name)
    test = open_small(category).test
    assert [s.mask.parent.name for s in test.samples[3:]] == ["square", "square", "night"]
    assert test.defects[3:] == ["square"] * 3


def test_two_folders_of_masks_are_refused(category: Path) -> None:
    (category / "masks").mkdir()
    with pytest.raises(DataError, match=r"ground_truth and .*masks may both be the folder of masks"):
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
