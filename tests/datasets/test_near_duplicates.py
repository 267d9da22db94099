"""Near-copies are found in each disguise, and strangers are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.datasets import ImageSet, Sample
from fastflow_lite.datasets.near_duplicates import find_most_similar, find_near_duplicates
from fastflow_lite.synthetic import toy

SIZE = 64


def scenes(seed: int, count: int, size: int = SIZE) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [toy.render("part", rng, size)[0] for _ in range(count)]


def image_set(folder: Path, pictures: list[np.ndarray], suffix: str = ".png") -> ImageSet:
    folder.mkdir()
    paths = [folder / f"{k}{suffix}" for k in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(np.ascontiguousarray(picture)).save(path)
    return ImageSet([Sample(path) for path in paths], (SIZE, SIZE), folder)


DISGUISES = {
    "as it is": lambda p: p,
    "darker": lambda p: (p * 0.8).astype(np.uint8),
    "flipped": lambda p: p[:, ::-1],
    "turned": lambda p: np.rot90(p),
    "turned and flipped": lambda p: np.rot90(p, 3)[::-1],
    "next frame": lambda p: np.concatenate([p[:, 1:], p[:, -1:]], axis=1),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_copy_is_found_with_its_twin(name: str, tmp_path: Path) -> None:
    ours = scenes(0, 6)
    copies = [*scenes(1, 2), DISGUISES[name](ours[4])]
    train, test = image_set(tmp_path / "train", ours), image_set(tmp_path / "test", copies, ".jpg")
    found = find_near_duplicates(test, train)
    assert [(m.image.name, m.twin.name) for m in found] == [("2.jpg", "4.png")]
    assert found[0].turned == ("turned" in name or "flipped" in name)


def test_strangers_are_no_copies_and_the_nearest_come_first(tmp_path: Path) -> None:
    train, test = image_set(tmp_path / "a", scenes(0, 6)), image_set(tmp_path / "b", scenes(1, 6))
    assert not find_near_duplicates(test, train)
    matches = find_most_similar(test, train)
    assert len(matches) == 6
    assert [m.similarity for m in matches] == sorted((m.similarity for m in matches), reverse=True)


def test_a_set_without_images_has_no_copies(tmp_path: Path) -> None:
    train = image_set(tmp_path / "a", scenes(0, 2))
    assert find_near_duplicates(train.subset([]), train) == find_near_duplicates(train, train.subset([])) == []


def test_a_blank_picture_matches_nothing(tmp_path: Path) -> None:
    blank = image_set(tmp_path / "a", [np.full((SIZE, SIZE, 3), 90, np.uint8)])
    match = find_most_similar(blank, image_set(tmp_path / "b", scenes(0, 2)))[0]
    assert abs(match.similarity) < 0.01
