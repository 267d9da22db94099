"""Opening a data set by its name or path, and the error where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets.trees import counts, make_tree, names_of
from PIL import Image

from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.opening import Request, height_and_width
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.synthetic import toy


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set in MVTec layout at .*mvtec/bottle.*FASTFLOW_LITE_DATA"):
        open_dataset("mvtec", "bottle", root=tmp_path)


def test_toy_category_that_does_not_exist() -> None:
    with pytest.raises(DataError, match=r"weave.*not 'bottle'"):
        open_dataset("toy", "bottle")


def test_an_image_has_one_pixel_at_least() -> None:
    assert (height_and_width(1), height_and_width((1, 2))) == ((1, 1), (1, 2))
    for wrong in (0, (1, 0), (-1, 5)):
        with pytest.raises(DataError, match="image_size must be 1 or more"):
            height_and_width(wrong)


def test_drawn_sets_lie_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.delenv("FASTFLOW_LITE_CACHE", raising=False)
    assert Request("toy", None, None, "").cache_folder == tmp_path / "home/.cache/fastflow-lite/toy"
    monkeypatch.setenv("FASTFLOW_LITE_CACHE", str(tmp_path / "cache"))
    assert Request("toy", None, None, "").cache_folder == tmp_path / "cache/toy"
    assert Request("toy", None, tmp_path, "").cache_folder == tmp_path / "toy"


def test_the_first_category_of_the_toy_set_is_the_default(monkeypatch: pytest.MonkeyPatch, category: Path) -> None:
    drawn: list[object] = []

    def generate(folder: Path, categories: tuple[str, ...]) -> Path:
        drawn.extend([folder, categories])
        category.rename(category.with_name(toy.CATEGORIES[0]))
        return category.parent

    monkeypatch.setattr(toy, "generate", generate)
    assert open_dataset("toy", root=category.parent).category == toy.CATEGORIES[0]
    assert drawn == [category.parent / "toy", (toy.CATEGORIES[0],)]


@pytest.mark.slow
def test_the_stand_in_for_cifar10_is_drawn_once_and_told_apart_by_its_folders(tmp_path: Path) -> None:
    data = open_dataset("formulas", "leaves", root=tmp_path, image_size=32)
    assert (data.name, data.category, len(data.train), len(data.test)) == ("formulas", "leaves", 150, 240)
    assert (~data.test.labels).sum() == 40
    first = data.test.fingerprint()
    data.train.samples[0].image.touch()
    assert open_dataset("formulas", "leaves", root=tmp_path, image_size=32).test.fingerprint() == first
    with pytest.raises(DataError, match="has the classes noise, lattice"):
        open_dataset("formulas", "cat", root=tmp_path)


@pytest.mark.parametrize("name", ["../other", "..", "a/../../b", "/etc"])
def test_a_category_does_not_lead_out_of_its_data_set(category: Path, name: str) -> None:
    for data_set in (category.parent, "mvtec", "btad", "toy", "cifar10"):
        with pytest.raises(DataError, match="leads out of the data set"):
            open_dataset(data_set, name, root=category.parent)


def test_without_a_home_the_message_names_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("FASTFLOW_LITE_CACHE", raising=False)
    with pytest.raises(DataError, match="toy has no folder: give root, or set FASTFLOW_LITE_CACHE"):
        open_dataset("toy", "weave")
    with pytest.raises(DataError, match="wood"):
        open_dataset("toy", "wood", root=tmp_path)


def test_several_folders_are_joined(tmp_path: Path) -> None:
    make_tree(tmp_path, "line1/good/*5", "line2/good/*5", "line2/bad/*2", "line3/train/ok/*3")
    folders = [tmp_path / name for name in ("line1/good", "line2/good")]
    data = open_dataset(folders, image_size=32)
    assert (counts(data), data.category, data.train.root) == ((10, 0, {}), tmp_path.name, tmp_path)
    assert data.layout.count("all count as normal") == 2
    data = open_dataset([*map(str, folders), tmp_path / "line2/bad", tmp_path / "line3"], image_size=32)
    assert counts(data) == (11, 2, {"bad": 2})
    assert "2 of 10 normal images are for the test" in data.layout
    assert len(data.train.fingerprint()) == 64


def test_relative_folders_are_joined_below_their_common_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tree(tmp_path, "a/good/*2", "b/good/*2")
    monkeypatch.chdir(tmp_path)
    data = open_dataset(["a/good", "b/../b/good"], image_size=32)
    assert names_of(data.train) == ["a/good/0.png", "a/good/1.png", "b/good/0.png", "b/good/1.png"]


def test_normal_images_of_a_test_set_need_no_others(tmp_path: Path) -> None:
    make_tree(tmp_path, "a/train/good/*3", "a/test/good/*2", "a/test/bad/*2", "more/*4")
    data = open_dataset([tmp_path / "a", tmp_path / "more"], image_size=32)
    assert counts(data) == (7, 2, {"bad": 2})


def test_folders_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    make_tree(tmp_path, "a/good/*2", "bad/*2")
    for places, category, message in (
        ([tmp_path / "a", tmp_path / "a/good"], None, r"a/good/0\.png is in two of the folders"),
        ([tmp_path / "a", tmp_path / "c"], None, "c does not exist"),
        ([tmp_path / "a", tmp_path / "bad"], "good", "category 'good' is of one folder, but 2 are given"),
        ([tmp_path / "bad", tmp_path / "bad"], None, "in two of the folders"),
        ([tmp_path / "bad"], None, "holds no normal image to train on"),
        ([], None, "no folder is given"),
    ):
        with pytest.raises(DataError, match=message):
            open_dataset(places, category)


def test_the_division_of_normal_images_stays_the_same(tmp_path: Path) -> None:
    make_tree(tmp_path, "good/*10", "bad/*1")
    first, second = (names_of(open_dataset(tmp_path, image_size=side).test) for side in (32, 16))
    assert first == second
    make_tree(tmp_path, "good/new.png")
    assert set(first) & set(names_of(open_dataset(tmp_path).test)) >= {"bad/0.png"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["good/*10", "bad/*3"], (10, {"bad": 3})),
        (["bad/*3"], (0, {"bad": 3})),
        (["a/ok/*2", "b/ng/*1"], (2, {"ng": 1})),
        (["*4"], (4, {})),
        (["test/good/*2", "test/bad/*1", "ground_truth/bad/*1"], (2, {"bad": 1})),
        (["x/test/good/*2", "y/test/bad/*1", "y/test/ok/*1"], (3, {"bad": 1})),
        (["train/good/*5", "test/good/*2", "test/hole/*1"], (2, {"hole": 1})),
        (["train/hole/*5", "test/good/*2"], (2, {})),
    ],
)  # fmt: skip
def test_to_judge_all_labeled_images_count_that_are_not_for_training(
    names: list[str], expected: tuple[int, dict[str, int]], tmp_path: Path
) -> None:
    data = open_dataset(make_tree(tmp_path / "line", *names), image_size=32, to_train=False)
    assert counts(data) == (0, *expected)
    assert data.test.has_masks == ("ground_truth/bad/*1" in names or not expected[1])


def test_to_judge_white_is_found_in_the_images_that_are_judged(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "good/0.png")
    assert open_dataset(tmp_path, image_size=8, to_train=False).test.white_level == 4095


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/good/*3"], r"line holds no image to judge \(MVTec layout: train\): add a folder test with folders of"),
        (["val/good/*2", "val/bad/*2"], r"holds val but no test, so which images to judge is unclear: give .*/val$"),
    ],
)  # fmt: skip
def test_what_is_nothing_to_judge_is_refused(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(make_tree(tmp_path / "line", *names), to_train=False)


@pytest.mark.parametrize(("where", "name"), [("", "."), ("", "./"), ("monday", "..")])
def test_the_working_folder_and_the_one_above_have_their_names(
    where: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path, "parts/monday/good/*3")
    monkeypatch.chdir(tmp_path / "parts" / where)
    data = open_dataset(name, image_size=32)
    assert (data.name, data.category, data.train.category) == ("parts", "parts", "parts")
    data = open_dataset(name, "monday", image_size=32)
    assert (data.name, data.category) == ("parts", "monday")


def test_the_working_folder_is_one_of_defects_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_tree(tmp_path, "bad/*2") / "bad")
    with pytest.raises(DataError, match=r"bad holds no normal image to train on \(a folder of images, defects by its"):
        open_dataset(".")


def test_the_folder_above_a_link_is_that_of_what_it_leads_to(tmp_path: Path) -> None:
    make_tree(tmp_path, "store/good/deep/*2", "other/good/*3")
    (tmp_path / "other/link").symlink_to(tmp_path / "store/good")
    data = open_dataset(tmp_path / "other/link/..", image_size=32)
    assert (data.category, len(data.train)) == ("store", 2)


@pytest.mark.parametrize("category", [None, "weave"])
def test_a_name_that_is_not_known_lists_those_that_are(category: str | None) -> None:
    with pytest.raises(DataError, match=r"tooy is no folder, and none of the data sets toy, mvtec, .*formulas: give"):
        open_dataset("tooy", category)


@pytest.mark.parametrize(
    ("name", "category", "message"),
    [
        (5, None, r"name must be a data set, a path or a list of paths, got 5"),
        (None, None, r"name must be .* got None"),
        (["a", 5], None, r"name must be .* got \['a', 5\]"),
        (b"toy", None, r"name must be .* got b'toy'"),
        ("toy", 0, r"category must be the name of a folder or of a class, got 0"),
    ],
)  # fmt: skip
def test_what_is_no_name_and_no_path_is_refused(name: Any, category: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        open_dataset(name, category)
