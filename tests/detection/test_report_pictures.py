"""Small pictures of findings."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fastflow_lite.datasets.image_inputs import read_input
from fastflow_lite.detection.report_pictures import draw_map, draw_picture, outline


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_a_picture_of_16_bits_is_drawn_in_its_range(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60), 2048, np.uint16)).save(tmp_path / "a.png")
    picture = decoded(draw_picture(read_input("a", tmp_path / "a.png", 4095), (20, 30)))
    assert picture.format == "JPEG" and picture.size == (30, 20) and picture.mode == "RGB"
    assert np.abs(np.asarray(picture).astype(int) - 128).max() <= 2


def test_a_map_is_small_and_opaque_where_it_is_high() -> None:
    scores = np.tile(np.linspace(0, 1, 400), (200, 1))
    picture = decoded(draw_map(scores))
    assert picture.size == (160, 80)
    cover = np.asarray(picture.convert("RGBA"))[40, :, 3]
    assert (np.diff(cover.astype(int)) >= 0).all() and not cover[:14].any() and cover[-1] == 178
    assert len(draw_map(scores)) < 10_000


def covered(path: str, size: tuple[int, int]) -> np.ndarray:
    """Fill an outline: a pixel is inside if a ray from it to the left crosses an odd number of vertical lines."""
    crossings = np.zeros((size[0], size[1] + 1), int)
    for piece in path.split("M")[1:]:
        if "v" in piece:
            place, length = piece.split("v")
            x, y = map(int, place.split())
            crossings[y : y + int(length), x] += 1
    return np.cumsum(crossings, 1)[:, :-1] % 2 == 1


def test_an_outline_encloses_the_pixels_that_reach_the_level() -> None:
    scores = torch.rand(12, 17, generator=torch.Generator().manual_seed(0)).numpy()
    assert (covered(outline(scores, 0.6, (12, 17)), (12, 17)) == (scores >= 0.6)).all()
    rows = outline(scores.T.copy(), 0.6, (17, 12)).replace("h", "_").replace("v", "h").replace("_", "v")
    turned = "".join(f"M{p.split('v')[0].split()[1]} {p.split('v')[0].split()[0]}v{p.split('v')[1]}"
                     for p in rows.split("M")[1:] if "v" in p)  # fmt: skip
    assert (covered(turned, (12, 17)) == (scores >= 0.6)).all(), "horizontal lines enclose the same"
    assert outline(scores, 2.0, (12, 17)) == ""


def test_a_defect_of_one_pixel_stays_in_the_small_pictures_of_a_large_map() -> None:
    scores = np.zeros((1000, 2000), np.float32)
    scores[333, 1777] = 1
    path = outline(scores, 0.5, (160, 320))
    assert covered(path, (160, 320)).sum() == 1 and covered(path, (160, 320))[53, 284]
    assert np.asarray(decoded(draw_map(scores)))[26, 142] == 255
