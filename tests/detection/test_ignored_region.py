"""Pixels that are left out: from polygons, mask files and arrays, and their form in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.detection import ignored_region
from fastflow_lite.detection.ignored_region import MOST_PIXELS, at_size, from_text, leave_out, read_ignored, to_text
from fastflow_lite.errors import ArgumentError, CheckpointError

LEFT = [(0, 0), (0.5, 0), (0.5, 1), (0, 1)]


def test_polygons_are_fractions_of_width_and_height() -> None:
    mask = read_ignored([LEFT], (20, 40))
    assert mask.shape == (20, 40) and mask[:, :19].all() and not mask[:, 22:].any()
    both = read_ignored([LEFT, [(0.9, 0), (1, 0), (1, 0.2)]], (20, 40))
    assert both[0, -1] and both[:, :19].all() and not both[-1, -1]


def test_a_mask_file_and_an_array_keep_their_resolution(tmp_path: Path) -> None:
    mask = np.zeros((10, 6), bool)
    mask[:5] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for given in (mask, tmp_path / "mask.png", str(tmp_path / "mask.png")):
        assert np.array_equal(read_ignored(given, (20, 40)), mask)
    assert at_size(mask, (20, 3))[:10].all() and not at_size(mask, (20, 3))[10:].any()


@pytest.mark.parametrize("band", [3, 100])
def test_what_is_left_out_has_the_lowest_value(monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    """In maps that are higher than wide and wider than high, whole and in bands."""
    monkeypatch.setattr(ignored_region, "BAND", band)
    corner = np.zeros((4, 2), bool)
    corner[0, 1] = True
    for shape in ((8, 12), (12, 8)):
        raw = np.arange(96, dtype=np.float32).reshape(shape)[::-1].copy()
        expected = raw.copy()
        expected[: shape[0] // 4, shape[1] // 2 :] = 0
        leave_out(raw, corner)
        assert np.array_equal(raw, expected)


@pytest.mark.parametrize(
    ("ignore", "reason"),
    [
        ([[(0, 0), (1, 1)]], "polygons of three or more points"),
        ([[(0, 0), (30, 0), (30, 40)]], "fractions"),
        (3, "polygons"),
        (np.zeros((4, 4), np.uint8), "of bool"),
        (np.zeros((4, 4), bool), "marks no pixel"),
        (np.ones((4, 4), bool), "every pixel"),
    ],
)
def test_anything_else_is_refused(ignore: Any, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        read_ignored(ignore, (20, 40))


def test_the_text_of_a_mask_is_read_back() -> None:
    mask = np.random.default_rng(0).random((30, 17)) > 0.5
    assert np.array_equal(from_text(to_text(mask)), mask)
    large = np.zeros((MOST_PIXELS // 1000, 2000), bool)
    large[:1000] = True
    small = from_text(to_text(large))
    assert small.size <= MOST_PIXELS and np.array_equal(at_size(small, (4, 1)), at_size(large, (4, 1)))


@pytest.mark.parametrize("text", ["", "AAAA", "é", 3, None])
def test_damaged_text_is_refused(text: Any) -> None:
    with pytest.raises(CheckpointError, match="mask of ignored pixels is damaged"):
        from_text(text)
