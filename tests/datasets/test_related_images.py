"""Groups of related images: the same object, frames of a recording, and what is too large to stay together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.datasets.related_images import group_related


def recording(frames: int, seed: int) -> list[np.ndarray]:
    """A belt of random parts that moves by four pixels a frame."""
    belt = np.random.default_rng(seed).integers(0, 255, (8, 8 + frames)).astype(np.uint8)
    wide = np.kron(belt, np.ones((8, 8), np.uint8))
    return [wide[:, 4 * k : 4 * k + 64] for k in range(frames)]


def save(folder: Path, pictures: list[np.ndarray]) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"frame{k}.png" for k in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


def numbers(groups: list[list[Path]]) -> list[list[int]]:
    return [[int(path.stem[5:]) for path in group] for group in groups]


def test_unrelated_images_are_groups_of_one(tmp_path: Path) -> None:
    paths = save(tmp_path / "a", [recording(1, seed)[0] for seed in range(30)])
    assert numbers(group_related(paths, 3)) == [[k] for k in range(30)]


def test_recordings_are_kept_whole_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    paths = save(tmp_path / "a", [frame for seed in range(5) for frame in recording(6, seed)])
    assert numbers(group_related(sorted(paths), 6)) == [list(range(k, k + 6)) for k in range(0, 30, 6)]


def test_neighbors_by_name_in_two_folders_are_no_neighbors(tmp_path: Path) -> None:
    frames = recording(20, 0)
    paths = save(tmp_path / "a", frames[:10]) + save(tmp_path / "b", frames[10:])
    groups = group_related(paths, 10)
    assert all(len({path.parent for path in group}) == 1 for group in groups)


def test_a_recording_that_fills_a_folder_is_cut_into_runs(tmp_path: Path) -> None:
    groups = numbers(group_related(save(tmp_path / "a", recording(40, 0)), 8))
    assert groups == [list(range(k, k + 2)) for k in range(0, 40, 2)]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_images_and_blank_ones_are_no_error(count: int, tmp_path: Path) -> None:
    paths = save(tmp_path / "a", [np.full((32, 32), 9, np.uint8)] * count)
    assert numbers(group_related(paths, 1)) == [[k] for k in range(count)]
