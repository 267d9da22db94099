"""Folders as people have them: what each is taken for, and which ones are refused as unclear."""

from pathlib import Path

import pytest
from datasets.trees import counts, make_tree, names_of

from fastflow_lite.datasets import open_dataset
from fastflow_lite.errors import DataError


@pytest.mark.parametrize(
    ("names", "expected", "layout"),
    [
        (["good/*10", "bad/*3"], (8, 2, {"bad": 3}), "normal good; defects bad; 2 of 10 normal images are"),
        (["OK/*5", "Scratch/*2", "dent/day/*1"], (4, 1, {"Scratch": 2, "dent": 1}), "normal OK; defects Scratch, dent"),
        (["good/*5"], (5, 0, {}), "normal good; defects (none)"),
        (["good/2024/a/*2", "good/2025/*3"], (5, 0, {}), "normal good"),
        (["*5"], (5, 0, {}), "all count as normal"),
        (["train/good/*5"], (5, 0, {}), "MVTec layout: train"),
        (["Train/*5"], (5, 0, {}), "MVTec layout: Train"),
        (["train/*5", "test/good/*2", "test/hole/*1"], (5, 2, {"hole": 1}), "MVTec layout: train, test"),
        (["1/2024-05/Good/*5", "1/2024-06/good/*5", "1/2024-06/NG/*2"], (8, 2, {"NG": 2}), "1 folders joined"),
        (["a/good/*3", "b/bad/*2", "b/ok/*2", "notes.txt/x/*0"], (4, 1, {"bad": 2}), "2 folders joined"),
    ],
)  # fmt: skip
def test_layouts(names: list[str], expected: tuple[int, int, dict[str, int]], layout: str, tmp_path: Path) -> None:
    data = open_dataset(make_tree(tmp_path / "line", *names), image_size=32)
    assert counts(data) == expected
    assert layout in data.layout
    assert (data.name, data.category) == ("line", "line")
    assert not data.train.labels.any()
    assert not set(names_of(data.train)) & set(names_of(data.test))


@pytest.mark.parametrize("name", ["no_defect_0", "defect-free 0", "Non-Defective7", "without defects", "not bad"])
def test_an_image_whose_name_denies_a_defect_is_normal(name: str, tmp_path: Path) -> None:
    assert counts(open_dataset(make_tree(tmp_path / "line", "1.png", f"{name}.png"))) == (2, 0, {})


@pytest.mark.parametrize("masks", ["ground_truth/bad/", "Masks/BAD/", "mask/", "masks/"])
def test_masks_lie_beside_the_kinds(masks: str, tmp_path: Path) -> None:
    names = [f"{masks}*2" if k else f"{masks}2_mask.png" for k in range(2)]
    data = open_dataset(make_tree(tmp_path, "good/*5", "bad/*3", *names), image_size=32)
    assert data.test.has_masks
    assert [s.mask.name for s in data.test.samples[:3]] == ["0.png", "1.png", "2_mask.png"]
    assert "masks in" in data.layout


def test_a_mask_of_two_images_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    make_tree(tmp_path, "good/*3", "bad/*2", "hole/*1", "masks/*2")
    with pytest.raises(DataError, match=r"bad/0\.png and .*hole/0\.png have the same mask .*masks/0\.png"):
        open_dataset(tmp_path)
    make_tree(tmp_path, "masks/bad/0.png", "masks/hole/*1")
    with pytest.raises(DataError, match=r"bad/1\.png has no mask.*masks/bad/1_mask\.png is missing"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["good/*2", "7.png"], r"7\.png lies beside the folder good, so its kind is unclear.*line/good if it is"),
        (["bad/*2"], r"holds no normal image to train on .*name the folder of normal images good"),
        (["a/*2", "b/*2"], r"whether the images in .*/a are normal is unclear: name the folder"),
        (["good/*2", "test/*2"], r"holds test but no train.*unclear: move normal images for training to"),
        (["1.png", "part_NG_2.png"], r"part_NG_2\.png is named as a defect \(ng\)"),
        (["1.png", "defect no 7.png"], r"defect no 7\.png is named as a defect \(defect\)"),
        (["1.png", "no 7 defect.png"], r"no 7 defect\.png is named as a defect \(defect\)"),
        (["1.png", "no_scratch_bad.png"], r"no_scratch_bad\.png is named as a defect \(bad\)"),
        (["good/*1", "bad/*1"], r"one normal image only"),
        (["ground_truth/*1", "day/good/*2"], r"ground_truth is not beside folders"),
        (["good/*2", "bad/*1", "masks/*1", "mask/*1"], r"masks and .*mask may both be the folder of masks"),
        (["good/*2", "bad/good/*1"], r"folder .*bad/good lies in .*would count as defects"),
        (["c/train/good/*2", "d/train/good/*2"], r"there are the categories c, d"),
        (["test/good/*2"], r"holds test but no train, so which images"),
        (["day/x.txt/*0"], r"holds no image"),
    ],
)  # fmt: skip
def test_what_is_unclear_is_refused(names: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    with pytest.raises(DataError, match=message):
        open_dataset(make_tree(tmp_path / "line", *names))


def test_what_is_not_used_is_told(tmp_path: Path) -> None:
    make_tree(tmp_path / "a", "train/good/*3", "validation/good/*2", "test/good/*1", "docs/x/*0")
    with pytest.warns(UserWarning, match=r"not used: the images in validation of .*neither train nor test"):
        assert len(open_dataset(tmp_path / "a").train) == 3
    make_tree(tmp_path / "b", "good/*3")
    (tmp_path / "b/bad").mkdir()
    with pytest.warns(UserWarning, match=r"no image in .*bad"):
        assert counts(open_dataset(tmp_path / "b")) == (3, 0, {})


@pytest.mark.hostile
def test_a_link_to_a_folder_above_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path / "a", "day/good/*2")
    (tmp_path / "a/loop").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="is a link to a folder that holds it"):
        open_dataset(tmp_path / "a")


@pytest.mark.parametrize(
    ("there", "link", "expected"),
    [
        (["n/line2/good/*3"], "n/line1/good", (6, 0, {})),
        (["n/good/*5"], "n/bad/monday", (4, 1, {"bad": 3})),
        (["n/bad/*1"], "n/good/monday", (2, 1, {"bad": 1})),
    ],
)  # fmt: skip
def test_images_behind_a_link_to_a_folder_count(
    there: list[str], link: str, expected: tuple[int, int, dict[str, int]], tmp_path: Path
) -> None:
    make_tree(tmp_path, "store/*3", *there)
    (tmp_path / link).parent.mkdir()
    (tmp_path / link).symlink_to(tmp_path / "store")
    assert counts(open_dataset(tmp_path / "n")) == expected


def test_the_thumbnails_of_a_system_are_no_images_of_a_kind(tmp_path: Path) -> None:
    make_tree(tmp_path, "good/*3", "bad/@eaDir/t.png")
    with pytest.warns(UserWarning, match=r"no image in .*bad"):
        assert counts(open_dataset(tmp_path)) == (3, 0, {})


def test_a_kind_whose_images_are_all_of_another_format_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path, "good/*3", "bad/0.png")
    (tmp_path / "bad/0.png").rename(tmp_path / "bad/0.heic")
    with pytest.raises(DataError, match=r"bad/0\.heic is none of .*convert or remove it"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["missing", "notes.txt"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=rf"{name} (does not exist|is a file): give a folder or a CSV file"):
        open_dataset(tmp_path / name)
