"""The tiles of image files: each is what the file has there, and belongs to its image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.detection import TiledSet, full_size, tile_corners
from fastflow_lite.errors import DataError


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
    assert tiles.labels.sum() == 3 * len(places)


def test_a_tiled_set_trains_and_keeps_its_places_in_a_split(category: Path, small_model: FastFlow) -> None:
    tiles = TiledSet(open_dataset(category.parent, category.name).train, 32, 8)
    train, held_out = tiles.split(0.5, seed=1)
    assert torch.equal(train.subset([3])[0][0], train[3][0])
    assert len(train) + len(held_out) == len(tiles)
    assert train.fingerprint() != held_out.fingerprint()
    history = fit(small_model, train, held_out=held_out, epochs=1, progress=False)
    assert history.train_images == len(train)


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
    with pytest.raises(DataError, match=r"000\.png cannot be opened"):
        TiledSet(open_dataset(category.parent, category.name).train, 32, 0)
