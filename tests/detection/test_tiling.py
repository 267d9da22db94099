"""Tiles: nothing is lost, and where tiles overlap nothing counts twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.course.checks import perturb
from fastflow_lite.detection import tiling

SIZES = [(64, 64), (65, 64), (97, 200), (128, 70)]


@pytest.mark.parametrize("length", range(32, 130, 7))
@pytest.mark.parametrize("overlap", [0, 1, 8, 31])
def test_tiles_cover_a_side_and_overlap_as_much_as_asked(length: int, overlap: int) -> None:
    found = tiling.tile_starts(length, 32, overlap)
    assert found[0] == 0 and found[-1] == length - 32
    gaps = [b - a for a, b in pairwise(found)]
    assert all(0 < gap <= 32 - overlap for gap in gaps)
    assert len(found) == 1 or (len(found) - 2) * (32 - overlap) + 32 < length, "one tile fewer would do"


@pytest.mark.parametrize(("length", "tile", "overlap"), [(31, 32, 0), (64, 32, 32), (64, 32, -1)])
def test_sizes_that_cannot_be_are_named(length: int, tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap {overlap}, tile {tile}, length {length}"):
        tiling.tile_starts(length, tile, overlap)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 5, 16])
def test_what_is_cut_is_joined_again(size: tuple[int, int], overlap: int) -> None:
    image = torch.rand(3, *size)
    assert torch.allclose(tiling.join_tiles(tiling.cut_tiles(image, 32, overlap), size, overlap), image, atol=1e-6)


def test_a_tile_counts_little_at_its_border() -> None:
    tiles = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 8, 8)
    row = tiling.join_tiles(tiles, (8, 12), 4)[0, 3]  # columns 4 to 7 are in both
    assert row[:4].eq(0).all() and row[8:].eq(1).all()
    assert torch.allclose(row[4:8], torch.tensor([1 / 5, 2 / 5, 3 / 5, 4 / 5]))


def test_tiles_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4 tiles, but an image of \(32, 64\) has 2"):
        tiling.join_tiles(torch.zeros(4, 1, 32, 32), (32, 64), 0)


@pytest.fixture
def perturbed(small_model: FastFlow) -> FastFlow:
    """A new flow has the same energy everywhere, and would not notice a tile out of place."""
    perturb(small_model.flows, 0.1)
    return small_model


def test_one_tile_is_the_plain_prediction(perturbed: FastFlow) -> None:
    image = torch.rand(3, 64, 64)
    maps, scores = perturbed.predict(image[None])
    joined, score = tiling.predict_tiled(perturbed, image, tile=64, overlap=16)
    assert maps.std() > 1e-3
    assert torch.allclose(joined, maps[0], atol=1e-6) and torch.allclose(score, scores[0], atol=1e-6)


def test_a_large_image_is_judged_tile_by_tile(perturbed: FastFlow) -> None:
    image = torch.rand(3, 96, 160)
    joined, score = tiling.predict_tiled(perturbed, image, tile=64, overlap=32, batch_size=3)
    assert joined.shape == (1, 96, 160) and score == joined.max()
    first = perturbed.predict(image[None, :, :64, :64])[0][0]
    assert torch.allclose(joined[:, :32, :32], first[:, :32, :32], atol=1e-6), "no other tile sees the corner"
