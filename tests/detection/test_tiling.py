"""Tiles: nothing is lost, nothing is seen twice as heavily, and a tile is what the file has there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit
from fastflow_lite.course.checks import perturb
from fastflow_lite.datasets import open_dataset
from fastflow_lite.detection import tiling
from fastflow_lite.errors import DataError

SIZES = [(64, 64), (65, 64), (97, 200), (128, 70)]


@pytest.mark.parametrize("length", range(32, 130, 7))
@pytest.mark.parametrize("overlap", [0, 1, 8, 31])
def test_tiles_cover_a_side_and_overlap_as_much_as_asked(length: int, overlap: int) -> None:
    found = tiling.starts(length, 32, overlap)
    assert found[0] == 0 and found[-1] == length - 32
    gaps = [b - a for a, b in pairwise(found)]
    assert all(0 < gap <= 32 - overlap for gap in gaps)
    assert len(found) == 1 or (len(found) - 2) * (32 - overlap) + 32 < length, "one tile fewer would do"


@pytest.mark.parametrize(("length", "tile", "overlap"), [(31, 32, 0), (64, 32, 32), (64, 32, -1)])
def test_sizes_that_cannot_be_are_named(length: int, tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap {overlap}, tile {tile}, length {length}"):
        tiling.starts(length, tile, overlap)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 5, 16])
def test_what_is_cut_is_joined_again(size: tuple[int, int], overlap: int) -> None:
    image = torch.rand(3, *size)
    assert torch.allclose(tiling.join(tiling.cut(image, 32, overlap), size, overlap), image, atol=1e-6)


def test_a_tile_counts_little_at_its_border() -> None:
    tiles = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 8, 8)
    row = tiling.join(tiles, (8, 12), 4)[0, 3]  # columns 4 to 7 are in both
    assert row[:4].eq(0).all() and row[8:].eq(1).all()
    assert torch.allclose(row[4:8], torch.tensor([1 / 5, 2 / 5, 3 / 5, 4 / 5]))


def test_tiles_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4 tiles, but an image of \(32, 64\) has 2"):
        tiling.join(torch.zeros(4, 1, 32, 32), (32, 64), 0)


@pytest.fixture
def perturbed(small_model: FastFlow) -> FastFlow:
    """A new flow has the same energy everywhere, and would not notice a tile out of place."""
    perturb(small_model.flows, 0.1)
    return small_model


def test_one_tile_is_the_plain_prediction(perturbed: FastFlow) -> None:
    image = torch.rand(3, 64, 64)
    maps, scores = perturbed.predict(image[None])
    joined, score = tiling.predict(perturbed, image, tile=64, overlap=16)
    assert maps.std() > 1e-3
    assert torch.allclose(joined, maps[0], atol=1e-6) and torch.allclose(score, scores[0], atol=1e-6)


def test_a_large_image_is_judged_tile_by_tile(perturbed: FastFlow) -> None:
    image = torch.rand(3, 96, 160)
    joined, score = tiling.predict(perturbed, image, tile=64, overlap=32, batch_size=3)
    assert joined.shape == (1, 96, 160) and score == joined.max()
    first = perturbed.predict(image[None, :, :64, :64])[0][0]
    assert torch.allclose(joined[:, :32, :32], first[:, :32, :32], atol=1e-6), "no other tile sees the corner"


def test_a_tiled_set_is_cut_from_the_files(category: Path) -> None:
    data = open_dataset(category.parent, category.name, image_size=16)
    tiles = tiling.TiledSet(data.test, 32, 8)  # files of 64 x 48
    places = tiling.corners((64, 48), 32, 8)
    assert len(tiles) == 6 * len(places) == 36
    for k, (image, mask) in enumerate(tiling.full_size(data.test)):
        assert image.shape == (3, 64, 48)
        for j, (top, left) in enumerate(places):
            part, part_mask = tiles[k * len(places) + j]
            assert torch.equal(part, image[:, top : top + 32, left : left + 32])
            assert torch.equal(part_mask, mask[top : top + 32, left : left + 32])
    assert tiles.labels.sum() == 3 * len(places)


def test_a_tiled_set_trains_and_keeps_its_places_in_a_split(category: Path, small_model: FastFlow) -> None:
    tiles = tiling.TiledSet(open_dataset(category.parent, category.name).train, 32, 8)
    train, held_out = tiles.split(0.5, seed=1)
    assert torch.equal(train.subset([3])[0][0], train[3][0])
    assert len(train) + len(held_out) == len(tiles)
    assert train.fingerprint() != held_out.fingerprint()
    history = fit(small_model, train, held_out=held_out, epochs=1, progress=False)
    assert history.train_images == len(train)


class Interrupted(tiling.TiledSet):
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
        tiling.TiledSet(open_dataset(category.parent, category.name).train, 64, 0)
    (category / "train/good/000.png").write_text("no picture")
    with pytest.raises(DataError, match=r"000\.png cannot be opened"):
        tiling.TiledSet(open_dataset(category.parent, category.name).train, 32, 0)
