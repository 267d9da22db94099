"""The tiles of image files: each is what the file has there, and belongs to its image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import random_split

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import ImageSet, Sample, open_dataset
from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.detection import TiledSet, full_size, tile_corners
from fastflow_lite.errors import DataError
from fastflow_lite.evaluation.evaluator import split_by_file


def test_a_tiled_set_is_cut_from_the_files(category: Path) -> None:
    data = open_dataset(category.parent, category.name, image_size=16)
    tiles = TiledSet(data.test, 32, 8)  # files of 64 x 48
    places = tile_corners((64, 48), 32, 8)
    assert len(tiles) == 6 * len(places) == 36
    for k, (image, mask) in enumerate(full_size(data.test)):
        assert image.shape == (3, 64, 48)
        for j, (top, left) in enumerate(places):
            part, part_mask = tiles[k * len(places) + j]
            assert torch.equal(part, image[:, top : top + 32, left : left + 32])
            assert torch.equal(part_mask, mask[top : top + 32, left : left + 32])
    marked = [bool(mask.any()) for _, mask in tiles]
    assert tiles.labels.tolist() == marked
    assert tiles.defects == ["square" if mark else "good" for mark in marked]


def test_a_tiled_set_trains_and_keeps_its_places_in_a_split(category: Path, small_model: FastFlow) -> None:
    tiles = TiledSet(open_dataset(category.parent, category.name).train, 32, 8)
    train, held_out = tiles.split(0.5, seed=1)
    assert torch.equal(train.subset([3])[0][0], train[3][0])
    assert len(train) + len(held_out) == len(tiles)
    assert train.fingerprint() != held_out.fingerprint()
    history = fit(small_model, train, held_out=held_out, epochs=1, progress=False)
    assert history.train_images == len(train)


def open_four_by_four(category: Path) -> ImageSet:
    """Return the test images with one corner marked in each defect: tiles of 32 pixels with and without marks."""
    mask = np.zeros((64, 48), np.uint8)
    mask[60:, 40:] = 255
    for file in (category / "ground_truth/square").iterdir():
        Image.fromarray(mask).save(file)
    return open_dataset(category.parent, category.name).test


def test_a_tile_has_the_label_of_its_own_part_of_the_mask(category: Path, small_model: FastFlow) -> None:
    images = open_four_by_four(category)
    tiles = TiledSet(images, 32, 0)
    assert tiles.labels.tolist() == ([False] * 4) * 3 + ([False] * 3 + [True]) * 3
    assert tiles.subset([11, 14, 15]).defects == ["good", "good", "square"]
    assert [bool(tiles[k][1].any()) for k in (14, 15, 14)] == [False, True, False]
    assert tiles.has_masks
    assert evaluate(small_model, tiles).record["data"]["test_anomalous"] == 3
    with pytest.raises(DataError, match="train must be normal images only, but 3 of 24"):
        fit(small_model, tiles, epochs=1, progress=False)


def test_tiles_and_mask_fit_a_picture_that_its_orientation_turns(category: Path) -> None:
    """Stored on its side, shown upright; the mask has the upright size and no orientation."""
    path = category / "test/square/001.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    images = open_four_by_four(category)
    tiles = TiledSet(images, 32, 0)
    assert tiles.labels.tolist()[12:] == ([False] * 3 + [True]) * 3
    image, mask = next(iter(full_size(images.subset([4]))))
    assert image.shape == (3, 64, 48) and mask[60:, 40:].all() and mask.sum() == 32
    assert torch.equal(tiles[19][0], image[:, 32:, 16:])
    assert images.subset([4])[0][0].shape == (3, 256, 256)


def test_tiles_of_a_defect_without_a_mask_are_not_evaluated(category: Path, small_model: FastFlow) -> None:
    shutil.rmtree(category / "ground_truth")
    test = open_dataset(category.parent, category.name).test
    with pytest.raises(DataError, match=r"square/000\.png shows a defect but has no mask.*predict_tiled"):
        evaluate(small_model, TiledSet(test, 32, 8))
    assert not TiledSet(test.subset([0, 1, 2]), 32, 8).labels.any()


def test_a_mask_that_marks_nothing_makes_no_normal_tiles(category: Path) -> None:
    Image.new("L", (48, 64)).save(category / "ground_truth/square/001_mask.png")
    with pytest.raises(DataError, match=r"001_mask\.png marks nothing"):
        TiledSet(open_dataset(category.parent, category.name).test, 32, 8)


def test_no_split_takes_an_image_apart(category: Path) -> None:
    tiles = TiledSet(open_four_by_four(category), 32, 0)
    for seed in range(5):
        for parts in (tiles.split(0.5, seed), [tiles.subset(part) for part in split_by_file(tiles, seed)]):
            first, second = ({s.image for s in part.samples} for part in parts)
            assert first and second and not first & second
            assert sum(len(part) for part in parts) == len(tiles)


def test_tiles_of_one_image_are_not_trained_on_and_held_out(category: Path, small_model: FastFlow) -> None:
    tiles = TiledSet(open_dataset(category.parent, category.name).train, 32, 8)
    train, held_out = random_split(tiles, [24, 12], torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match=r"tiles of .*train/good/00\d\.png are in train and in held_out"):
        fit(small_model, train, held_out=held_out, epochs=1, progress=False)


class Interrupted(TiledSet):
    """As if another thread read another image whenever one has been kept."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "_last" and value is not None:
            super().__setattr__(name, (self.samples[-1], torch.full((3, 64, 48), 2.0), torch.zeros(64, 48)))


def test_a_thread_gets_its_own_image(category: Path) -> None:
    data = open_dataset(category.parent, category.name).train
    assert float(Interrupted(data, 32, 8)[0][0].max()) <= 1, "the image of the other thread"


def test_a_file_smaller_than_a_tile_is_named(category: Path) -> None:
    with pytest.raises(DataError, match=r"000\.png is 48 x 64 pixels, smaller than a tile of 64"):
        TiledSet(open_dataset(category.parent, category.name).train, 64, 0)
    (category / "train/good/000.png").write_text("no picture")
    with pytest.raises(DataError, match=r"000\.png cannot be decoded"):
        TiledSet(open_dataset(category.parent, category.name).train, 32, 0)


def test_tiles_of_16_bits_have_the_white_level_of_their_images(category: Path) -> None:
    for path in category.rglob("*.png"):
        if "ground_truth" not in path.parts:
            Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) << 4).save(path)
    images, others = (open_dataset(category, white_level=level).test for level in (4095, 8191))
    tiles = TiledSet(images, 32, 8)
    assert tiles.white_level == tiles.subset([0]).white_level == 4095
    whole = next(full_size(images))[0]
    assert whole.max() > 0.5, "not divided by 65535"
    assert torch.equal(tiles[0][0], whole[:, :32, :32])
    assert tiles.fingerprint() != TiledSet(others, 32, 8).fingerprint()


def test_tiles_follow_the_exif_orientation(category: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = category / "test/good/000.png"
    Image.open(path).resize((40, 64)).save(path, exif=exif)
    tiles = TiledSet(open_dataset(category).test.subset([0]), 32, 8)
    assert tiles.corners == tile_corners((40, 64), 32, 8)
    assert torch.equal(tiles[1][0], read_image(path)[:, :32, tiles.corners[1][1] :][..., :32])


def test_tiles_are_of_256_pixels_by_default_and_share_a_quarter(tmp_path: Path) -> None:
    Image.new("L", (448, 256)).save(tmp_path / "a.png")
    assert TiledSet(ImageSet([Sample(tmp_path / "a.png")], (8, 8), tmp_path)).corners == [(0, 0), (0, 192)]
