"""Thumbnails of files of any mode and depth, the errors of those that cannot be read, and their details."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.pictures import picture
from PIL import Image

from fastflow_lite.datasets import thumbnails
from fastflow_lite.datasets.image_files import read_image, resize
from fastflow_lite.datasets.thumbnails import alike, details, normalize, read_thumbnails, symmetries


def ramp(height: int = 128, width: int = 192) -> np.ndarray:
    return np.add.outer(np.arange(height), np.arange(width)) % 256


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_a_thumbnail_is_the_gray_picture_in_small(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(mode, ramp() * (257 if "I" in mode else 1)).save(path)
    small, errors = read_thumbnails([path])
    expected = resize(read_image(path), (64, 64)).mean(dim=0)
    assert not errors
    assert float((small[0] - expected).abs().mean()) < 0.02


def test_a_large_jpeg_is_decoded_in_small_and_turned(tmp_path: Path) -> None:
    values = np.zeros((1024, 2048), np.uint8)
    values[:, :1024] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    Image.fromarray(values).save(tmp_path / "a.jpg", exif=exif)
    small = read_thumbnails([tmp_path / "a.jpg"])[0][0]
    assert small[:30].min() > 0.9
    assert small[34:].max() < 0.1


def test_what_cannot_be_read_is_black_and_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.png" for k in range(4)]
    for k in (0, 2):
        Image.new("L", (9, 9), 255).save(paths[k])
    paths[1].write_bytes(paths[0].read_bytes()[:40])
    small, errors = read_thumbnails(paths)
    assert small.amax(dim=(1, 2)).tolist() == [1, 0, 1, 0]
    assert list(errors) == [1, 3]
    assert "1.png cannot be decoded" in str(errors[1])
    assert "3.png does not exist" in str(errors[3])


def test_pictures_of_another_brightness_are_alike_and_others_are_not() -> None:
    pictures = torch.rand(5, 64, 64, generator=torch.Generator().manual_seed(0))
    copy = normalize(0.5 * pictures[3:4].flip(2) + 0.2)
    found = list(alike(copy, normalize(pictures), torch.zeros(1, 64, 64)))
    assert [(i, j, turned) for i, j, _, turned in found] == [(0, 3, True)]
    assert found[0][2] == pytest.approx(1)


def test_blocks_change_no_pair_and_large_sets_are_not_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = torch.rand(7, 64, 64, generator=torch.Generator().manual_seed(1))
    theirs, ours = normalize(pictures), normalize(torch.stack([pictures[6], pictures[2].rot90(), pictures[5]]))
    nothing = torch.zeros(1, 64, 64)
    monkeypatch.setattr(thumbnails, "BLOCK", 2)
    assert sorted((i, j, turned) for i, j, _, turned in alike(ours, theirs, nothing)) == [
        (0, 6, False), (1, 2, True), (2, 5, False)
    ]  # fmt: skip
    monkeypatch.setattr(thumbnails, "MOST_TURNED", 7)
    assert len(list(alike(ours, theirs, nothing))) == 3
    monkeypatch.setattr(thumbnails, "MOST_TURNED", 6)
    assert [(i, j) for i, j, *_ in alike(ours, theirs, nothing)] == [(2, 5), (0, 6)]


def test_a_square_has_eight_symmetries_of_which_the_first_changes_nothing() -> None:
    square = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(0))
    found = symmetries(square)
    assert torch.equal(found[0], square)
    assert len({tuple(one.flatten().tolist()) for one in found}) == 8


def test_details_are_what_differs_from_a_mean_of_five_pixels() -> None:
    pictures = normalize(torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(2)))
    common = pictures.mean(dim=0, keepdim=True)
    apart = (pictures - common)[0]
    expected = apart[30, 40] - apart[28:33, 38:43].mean()
    found = details(pictures, common)[0]
    corner = apart[0, 0] - torch.cat([apart[:1], apart[:1], apart[:3]])[:, [0, 0, 0, 1, 2]].mean()
    assert float(found[30, 40] / found[0, 0]) == pytest.approx(float(expected / corner), rel=1e-3)
    assert float(found.norm()) == pytest.approx(1)
    assert not details(torch.zeros(1, 64, 64), torch.zeros(1, 64, 64)).any()
