"""Tiles: nothing is lost, and where tiles overlap nothing counts twice."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Constant, started

from fastflow_lite import FastFlow
from fastflow_lite.course.checks import perturb
from fastflow_lite.datasets.image_files import read_image
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import tiling
from fastflow_lite.errors import ArgumentError

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


def test_weights_are_those_of_all_tiles_together() -> None:
    tiles = torch.rand(6, 1, 16, 16)
    inward = torch.tensor([*range(1, 9), *range(8, 0, -1)]).float()
    total, weights = torch.zeros(1, 30, 40), torch.zeros(30, 40)
    for part, (top, left) in zip(tiles, tiling.tile_corners((30, 40), 16, 2), strict=True):
        total[:, top : top + 16, left : left + 16] += inward[:, None] * inward * part
        weights[top : top + 16, left : left + 16] += inward[:, None] * inward
    assert torch.equal(tiling.join_tiles(tiles, (30, 40), 2), total / weights)


@pytest.mark.parametrize("levels", [255, 4095])
def test_a_file_is_predicted_as_its_tensor(perturbed: FastFlow, tmp_path: Path, levels: int) -> None:
    values = np.random.default_rng(0).integers(0, levels + 1, (96, 160))
    path = tmp_path / "line.png"
    Image.fromarray(values.astype(np.uint8 if levels == 255 else np.uint16)).save(path)
    perturbed.input_format = InputFormat((64, 64), levels)
    expected = tiling.predict_tiled(perturbed, read_image(path, levels), tile=64, overlap=32)
    for name in (path, str(path)):
        found = tiling.predict_tiled(perturbed, name, tile=np.int64(64), overlap=np.int64(32), batch_size=np.int64(3))
        assert torch.allclose(found[0], expected[0], atol=1e-5) and torch.allclose(found[1], expected[1], atol=1e-5)
    one = tiling.predict_tiled(perturbed, path, tile=64, overlap=32, batch_size=1)
    assert torch.allclose(one[0], expected[0], atol=1e-5)
    with pytest.raises(ArgumentError, match="batch_size must be"):
        tiling.predict_tiled(perturbed, path, tile=64, overlap=32, batch_size=0)


LINE_SCAN = """
import os, resource, sys
import torch
from fastflow_lite import FastFlow
from fastflow_lite.detection import predict_tiled
from tiny import Constant, started
for path in sys.argv[1:]:
    if os.fork():  # a program that was started counts the memory of the one that started it; a copy does not
        os.wait()
        continue
    model = started(FastFlow(Constant(0.0, 1.0), steps=1, hidden=4, image_score="max"))
    short = predict_tiled(model, path + "/short.png", 512)[0].numel()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more = predict_tiled(model, path + "/long.png", 512)[0].numel() - short
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / more, flush=True)
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of one process are measured")
def test_a_line_scan_takes_little_more_memory_than_its_pixels_and_its_map(tmp_path: Path) -> None:
    bytes_a_pixel = {"L": 1, "RGB": 7}  # with the map's 4 and a few tiles 5.1 and 11.1 were measured
    for mode in bytes_a_pixel:
        (tmp_path / mode).mkdir()
        Image.new(mode, (2048, 2048)).save(tmp_path / mode / "short.png")
        Image.new(mode, (2048, 8000)).save(tmp_path / mode / "long.png")
    command = [sys.executable, "-c", LINE_SCAN, *(tmp_path / mode for mode in bytes_a_pixel)]
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | path)
    for mode, used in zip(bytes_a_pixel, done.stdout.split(), strict=True):
        assert float(used) < bytes_a_pixel[mode] + 4 + 3, f"{mode}: the file and the map, but no float32 image"


def test_tiles_are_of_256_pixels_by_default_and_share_a_quarter() -> None:
    model = started(FastFlow(Constant(0.0, 10.0), steps=1, hidden=4), 256, 256)
    perturb(model.flows, 0.1)
    image = torch.rand(3, 256, 448)
    expected = tiling.predict_tiled(model, image, tile=256, overlap=64)
    assert torch.allclose(tiling.predict_tiled(model, image)[0], expected[0], atol=1e-6)
    assert not torch.allclose(tiling.predict_tiled(model, image, overlap=65)[0], expected[0], atol=1e-6)
    assert tiling.Tiles.checked(40, None) == (40, 10)
