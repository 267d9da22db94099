"""The part of all images that a detector leaves out: a mask, from a file, an array or polygons."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fastflow_lite.datasets.decoding import open_image
from fastflow_lite.errors import ArgumentError, CheckpointError

MOST_PIXELS = 2**22  # of a mask in a file of a detector
BAND = 256  # rows of a map
Polygon = Sequence[tuple[float, float]]
Ignored = str | os.PathLike[str] | np.ndarray | Sequence[Polygon]


def read_ignored(ignore: Ignored, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels to leave out as `(H, W)` bool, True where no defect counts.

    `ignore` is a mask file whose pixels above 0 are left out, an array `(H, W)` bool, or polygons: each a list of three
    or more points (x, y) in fractions of width and height, (0, 0) the upper left and (1, 1) the lower right corner.
    Polygons are drawn at `size`. ArgumentError for anything else, and where nothing or everything is left out.
    """
    if isinstance(ignore, str | os.PathLike):
        mask = np.asarray(open_image(Path(ignore)).convert("L")) > 0
    elif isinstance(ignore, np.ndarray):
        mask = ignore
    else:
        mask = _draw(ignore, size)
    if mask.dtype != bool or mask.ndim != 2:
        raise ArgumentError(f"ignore must be (H, W) of bool, got {mask.shape} of {mask.dtype}")
    if mask.all() or not mask.any():
        raise ArgumentError("ignore leaves out every pixel" if mask.size and mask.all() else "ignore marks no pixel")
    return mask


def at_size(mask: np.ndarray, size: tuple[int, int], rows: slice = slice(None)) -> np.ndarray:
    """Return `rows` of the mask `(H, W)` resized to `size`, nearest pixel."""
    below, right = (((2 * np.arange(new) + 1) * old) // (2 * new) for old, new in zip(mask.shape, size, strict=True))
    return mask[below[rows]][:, right]


def leave_out(raw: np.ndarray, mask: np.ndarray) -> None:
    """Set the pixels of a map `(H, W)` that the mask leaves out to the lowest value of the map."""
    lowest = raw.min()
    for top in range(0, len(raw), BAND):  # in bands, so that the mask takes no memory of the map's size
        rows = slice(top, top + BAND)
        np.copyto(raw[rows], lowest, where=at_size(mask, (raw.shape[0], raw.shape[1]), rows))


def to_text(mask: np.ndarray) -> str:
    """Return the mask as the base64 text of a PNG; a very large one at a lower resolution."""
    factor = max(1.0, float(np.sqrt(mask.size / MOST_PIXELS)))
    if factor > 1:
        mask = at_size(mask, (int(mask.shape[0] / factor), int(mask.shape[1] / factor)))
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def from_text(text: Any) -> np.ndarray:
    """Return what `to_text` wrote; CheckpointError for anything else."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            if image.mode != "1" or image.width * image.height > 2 * MOST_PIXELS:
                raise ValueError(f"mode {image.mode}, {image.width} x {image.height} pixels")
            return np.array(image)
    except Exception as error:  # Pillow's decoders raise almost any kind
        raise CheckpointError(f"the mask of ignored pixels is damaged ({error})") from error


def _draw(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    picture = Image.new("1", (width, height))
    try:
        for polygon in polygons:
            points = [(float(x), float(y)) for x, y in polygon]
            if len(points) < 3 or not all(0 <= value <= 1 for point in points for value in point):
                raise ValueError(points)
            ImageDraw.Draw(picture).polygon([(x * width, y * height) for x, y in points], fill=1)
    except (TypeError, ValueError):
        raise ArgumentError(
            "ignore must be a mask file, an array (H, W) of bool, or polygons of three or more points (x, y) in "
            f"fractions of width and height, 0 to 1, got {polygons!r}"
        ) from None
    return np.array(picture)
