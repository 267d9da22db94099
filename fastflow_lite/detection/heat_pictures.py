"""Heat maps as files: each image at its own size with the colors of its map on it, and the border of its mask."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fastflow_lite.datasets.image_files import WHITE_16, ImageFile
from fastflow_lite.detection.finding import Finding
from fastflow_lite.detection.heat_colors import heat_colors, heat_cover
from fastflow_lite.errors import DataError
from fastflow_lite.files import write_atomically

BORDER = np.array((90, 209, 255), np.uint8)
BAND = 2**20  # pixels that are colored at once
ENDING, LONGEST_NAME = ".heat.png", 255  # bytes that file systems allow a name


class HeatPictures:
    """Writes the heat map of each finding into a folder, whole files only.

    `places` are the files and folders that are judged. The subfolders of their common folder are kept, and each name
    ends in `.heat.png` behind the whole name of the image, so no two images share a file; where that is too long for a
    file system, the name is cut and a hash of the whole follows. DataError for a `folder` that
    cannot be written, or lies in one of the `places`: it would be judged as an image.
    """

    def __init__(self, folder: Path, places: Sequence[Path], white_level: int | None = WHITE_16) -> None:
        self.folder, self.white_level = folder, white_level
        folders = [place if place.is_dir() else place.parent for place in places]
        self.root = Path(os.path.commonpath([os.path.abspath(place) for place in folders]))
        for place in places:
            if place.is_dir() and Path(os.path.abspath(folder)).is_relative_to(os.path.abspath(place)):
                raise DataError(f"{folder} lies in {place}, where its pictures would be judged: give another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder} cannot hold heat maps: {error.strerror or error}") from error
        if not os.access(folder, os.W_OK):
            raise DataError(f"{folder} cannot hold heat maps: it is not writable")

    def add(self, finding: Finding) -> Path:
        """Write the heat map of a finding, whose name is a path, and return where."""
        place = Path(os.path.abspath(finding.name)).relative_to(self.root)
        target = self.folder / place.with_name(_heat_name(place.name))
        picture = Image.fromarray(draw_heat(ImageFile(Path(finding.name), self.white_level), finding))
        write_atomically(target, lambda unfinished: picture.save(unfinished, "PNG", compress_level=1))
        return target


def _heat_name(name: str) -> str:
    """Return the name of the heat map of an image file."""
    if len(os.fsencode(name + ENDING)) <= LONGEST_NAME:
        return name + ENDING
    end = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:10]}{ENDING}"
    while len(os.fsencode(name + end)) > LONGEST_NAME:  # by characters: bytes would cut one apart
        name = name[:-1]
    return name + end


def draw_heat(image: ImageFile, finding: Finding) -> np.ndarray:
    """Return the image `(H, W, 3)` uint8 with its map in colors on it, and a line around each region of an alarm."""
    (height, width), picture = image.size, np.empty((*image.size, 3), np.uint8)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):  # in bands: a line scan of 200 million pixels has no copy in float32
        band = slice(top, min(height, top + rows))
        pixels = image.part(top, 0, band.stop - top, width).permute(1, 2, 0).numpy()
        picture[band] = (255 * _colored(pixels, finding.map[band])).round()
    if finding.alarm:
        picture[_border(finding.mask)] = BORDER
    return picture


def _colored(pixels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return pixels `(h, w, 3)` in [0, 1] under the colors of scores `(h, w)`."""
    cover = heat_cover(scores)[..., None]
    return pixels * (1 - cover) + heat_colors(scores) / 255 * cover


def _border(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of the mask that have a neighbor, or the border of the image, outside of it."""
    inside = np.pad(mask, 1)
    return mask & ~(inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:])
