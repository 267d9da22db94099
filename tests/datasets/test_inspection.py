"""What an inspection counts, and each thing that it warns of."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets.trees import make_tree
from PIL import Image

from fastflow_lite.datasets import Data, Inspection, inspect_data, inspection, open_dataset
from fastflow_lite.datasets.inspection import warn_of_data
from fastflow_lite.errors import DataError


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "line", "train/good/*30", "test/good/*10", "test/hole/*2", "test/dent/*1",
                     "ground_truth/hole/*2", "ground_truth/dent/*1")  # fmt: skip


def inspected(folder: Path, most: int | None = None) -> Inspection:
    return inspect_data(open_dataset(folder), most)


def test_a_set_in_order_is_counted_without_a_warning(line: Path) -> None:
    found = inspected(line)
    assert found.warnings == []
    assert found.lines()[:6] == [
        "line, category line: MVTec layout: train, test, ground_truth",
        "train: 30 good",
        "test: 10 good, 3 bad (dent 1, hole 2), 3 masks",
        "sizes, height x width: 32x32 (43)",
        "modes: RGB, 8 bits (43)",
        "near duplicates between train and test: 0",
    ]
    assert found.lines()[6].startswith("brightness of good images, 0 to 1: train 0.49")


def test_few_images_are_told_and_a_missing_test_is_a_fact(tmp_path: Path) -> None:
    found = inspected(make_tree(tmp_path / "few", "good/*4"))
    assert "test: no images" in found.lines()
    assert [w[:32] for w in found.warnings] == ["only 4 images to train on, of wh"]
    found = inspected(make_tree(tmp_path / "few", "bad/*1"))
    assert "only 1 good images in the test" in found.warnings[1]


def test_sizes_and_modes_that_differ(line: Path) -> None:
    Image.new("L", (64, 32), 100).save(line / "test/good/wide.png")
    found = inspected(line)
    assert "sizes, height x width: 32x32 (43), 32x64 (1)" in found.lines()
    assert "modes: RGB, 8 bits (43), gray, 8 bits (1)" in found.lines()
    assert "width / height is 1.00 to 2.00" in found.warnings[0]
    assert found.warnings[1] == "the test has gray, 8 bits, the training has RGB, 8 bits"


def test_all_files_that_cannot_be_read_are_listed(line: Path) -> None:
    (line / "train/good/3.png").write_bytes(b"")
    (line / "test/hole/0.png").write_bytes((line / "test/hole/1.png").read_bytes()[:900])
    (line / "ground_truth/hole/1.png").write_bytes(b"no image")
    text = inspected(line).warnings[-1]
    assert text.startswith("3 files cannot be used: ")
    for name in ("train/good/3.png", "test/hole/0.png", "ground_truth/hole/1.png"):
        assert f"image {line / name} cannot be decoded" in text


def test_no_training_image_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, "good/*2")
    for file in (tmp_path / "good").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"no training image below .* can be read: image .*0\.png cannot be decoded"):
        inspected(tmp_path)


def test_masks_of_another_size(line: Path) -> None:
    Image.new("L", (16, 16), 255).save(line / "ground_truth/hole/1.png")
    (text,) = inspected(line).warnings
    assert text == f"1 masks are not of the size of their images: {line / 'ground_truth/hole/1.png'}"


def test_equal_files_and_copies_between_train_and_test(line: Path) -> None:
    shutil.copy(line / "train/good/7.png", line / "test/good/copy.png")
    pixels = np.asarray(Image.open(line / "train/good/9.png"))
    Image.fromarray(np.ascontiguousarray(pixels[:, ::-1] // 2 + 60)).save(line / "test/dent/0.png")
    equal, copies = (text for text in inspected(line).warnings if "differ in light" not in text)
    assert equal.endswith(f"byte by byte: {line / 'train/good/7.png'} = {line / 'test/good/copy.png'}")
    assert copies.startswith("2 test images show the same object")
    assert f"{line / 'test/dent/0.png'} ~ {line / 'train/good/9.png'} (flipped or turned)" in copies


def test_another_brightness_of_the_test(line: Path) -> None:
    for file in (line / "test/good").iterdir():
        Image.open(file).point(lambda value: value * 0.8).save(file)
    texts = inspected(line).warnings
    assert [text.split(":")[1].split(" of")[0].strip() for text in texts] == ["brightness", "contrast"]
    for file in (line / "test/hole").iterdir():  # the light of defects is not compared
        Image.open(file).point(lambda value: value * 0.5).save(file)
    assert inspected(line).warnings == texts


def test_a_part_of_many_images_is_decoded(line: Path) -> None:
    (line / "train/good/9.png").write_bytes((line / "train/good/9.png").read_bytes()[:900])  # the last one by name
    found = inspected(line, most=5)
    assert "decoded: 9 of 43 images, evenly spaced" in found.lines()
    assert "train/good/9.png" in found.warnings[0]


def test_of_large_images_fewer_are_decoded_at_least_two(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels, decoded in ((32 * 32 * 2 * 4, 8), (1, 4)):
        monkeypatch.setattr(inspection, "PIXELS", pixels)
        assert f"decoded: {decoded} of 43 images, evenly spaced" in inspected(line, most=20).lines()


@pytest.mark.parametrize("count", [10, inspection.SHOWN])
def test_of_many_files_a_few_are_named(line: Path, count: int) -> None:
    for k in range(count):
        Image.new("L", (16, 16), 255).save(make_tree(line, f"test/hole/{k}.png") / f"ground_truth/hole/{k}.png")
    (text,) = (text for text in inspected(line).warnings if "of the size" in text)
    assert text.startswith(f"{count} masks are not of the size of their images: ")
    assert text.count(".png") == inspection.SHOWN
    assert text.endswith(f" and {count - inspection.SHOWN} more" if count > inspection.SHOWN else ".png")


def test_the_start_of_a_training_warns(line: Path) -> None:
    shutil.copy(line / "train/good/7.png", line / "test/good/copy.png")
    data: Data = open_dataset(line)
    with pytest.warns(UserWarning, match="byte by byte"), pytest.warns(UserWarning, match="show the same object"):
        warn_of_data(data)
