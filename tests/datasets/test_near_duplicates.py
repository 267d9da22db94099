"""Near-copies are found in each disguise, and strangers are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.datasets import ImageSet, Sample
from fastflow_lite.datasets.near_duplicates import find_copies, find_most_similar, find_near_duplicates, split_normal
from fastflow_lite.errors import DataError
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
    assert find_near_duplicates(test, train, matches[1].similarity) == matches[:2]


def test_a_set_without_images_has_no_copies(tmp_path: Path) -> None:
    train = image_set(tmp_path / "a", scenes(0, 2))
    assert find_near_duplicates(train.subset([]), train) == find_near_duplicates(train, train.subset([])) == []


def test_a_blank_picture_matches_nothing(tmp_path: Path) -> None:
    blank = image_set(tmp_path / "a", [np.full((SIZE, SIZE, 3), 90, np.uint8)])
    match = find_most_similar(blank, image_set(tmp_path / "b", scenes(0, 2)))[0]
    assert abs(match.similarity) < 0.01


def paths_of(images: ImageSet) -> list[Path]:
    return [sample.image for sample in images.samples]


def aligned_parts(count: int) -> list[np.ndarray]:
    """One part, seen `count` times, each with marks of its own: all correlate above 0.95."""
    part, marks = np.kron(scenes(0, 1, 8)[0], np.ones((8, 8, 1), np.uint8)).astype(int), np.random.default_rng(3)
    return [(part + np.kron(marks.integers(-8, 9, (32, 32, 1)), np.ones((2, 2, 1), int))).clip(0, 255).astype(np.uint8)
            for _ in range(count)]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DISGUISES if name != "next frame"])
def test_the_same_object_is_found_among_aligned_parts(name: str, tmp_path: Path) -> None:
    parts = aligned_parts(8)
    train = image_set(tmp_path / "train", parts[:6])
    test = image_set(tmp_path / "test", [*parts[6:], DISGUISES[name](parts[4])])
    assert len(find_near_duplicates(test, train)) == 3  # whole thumbnails do not tell one part from another
    found = find_copies(paths_of(test), paths_of(train))
    assert [(m.image.name, m.twin.name) for m in found] == [("2.png", "4.png")]
    assert found[0].turned == ("turned" in name or "flipped" in name)


def test_a_file_that_cannot_be_read_is_no_copy_and_no_error(tmp_path: Path) -> None:
    train = image_set(tmp_path / "a", scenes(0, 4))
    paths = paths_of(train)
    paths[0].write_bytes(b"no image")
    assert sorted((m.image.name, m.twin.name) for m in find_copies(paths, paths)) == [
        (f"{k}.png",) * 2 for k in (1, 2, 3)
    ]
    assert find_copies([], paths) == find_copies(paths, []) == []
    rest, held = split_normal(train, 0.5)
    assert (len(rest), len(held)) == (2, 2)


def test_a_split_holds_out_the_fraction_in_order_and_by_the_seed(tmp_path: Path) -> None:
    images = image_set(tmp_path / "a", scenes(0, 20))
    rest, held = split_normal(images, 0.2, seed=3)
    assert (len(rest), len(held)) == (16, 4)
    assert sorted(paths_of(rest) + paths_of(held)) == sorted(paths_of(images))
    for part in (rest, held):
        assert paths_of(part) == [path for path in paths_of(images) if path in paths_of(part)]
    assert paths_of(split_normal(images, 0.2, seed=3)[1]) == paths_of(held)
    assert any(paths_of(split_normal(images, 0.2, seed)[1]) != paths_of(held) for seed in range(3))


def test_a_split_parts_no_copies(tmp_path: Path) -> None:
    parts = aligned_parts(9)
    copies = [DISGUISES["darker"](part) for part in parts]
    images = image_set(tmp_path / "a", parts + copies)
    for seed in range(5):
        rest, held = split_normal(images, 0.25, seed)
        assert len(held) == 4
        assert {int(path.stem) % 9 for path in paths_of(rest)}.isdisjoint({int(p.stem) % 9 for p in paths_of(held)})


def test_one_more_image_changes_little_of_a_split(tmp_path: Path) -> None:
    images = image_set(tmp_path / "a", scenes(0, 21))
    fewer, more = (set(paths_of(split_normal(s, 0.25)[1])) for s in (images.subset(range(20)), images))
    assert len(fewer) == len(more) == 5
    assert len(fewer - more) <= 1


@pytest.mark.parametrize("count", [2, 3])
def test_copies_alone_are_divided_none_the_less(count: int, tmp_path: Path) -> None:
    rest, held = split_normal(image_set(tmp_path / "a", scenes(0, 1) * count), 0.5)
    assert len(rest) + len(held) == count
    assert len(rest) and len(held)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (4, 0), (4, 1)])
def test_what_cannot_be_divided_is_refused(count: int, fraction: float, tmp_path: Path) -> None:
    images = image_set(tmp_path / "a", scenes(0, count))
    with pytest.raises(DataError, match=f"cannot hold out a fraction {fraction} of {count} images"):
        split_normal(images, fraction)
