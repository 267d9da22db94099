"""Pictures of a finding for a page: the image, its map in colors, and the outline of its mask, all small."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fastflow_lite.datasets.image_files import ImageFile, resize
from fastflow_lite.datasets.image_inputs import resized
from fastflow_lite.detection.heat_colors import heat_colors, heat_cover

PICTURE_SIDE, MAP_SIDE, OUTLINE_SIDE = 640, 160, 320  # pixels of the longer side, at most
JPEG_QUALITY = 80


def fit_within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return `size` (height, width), made smaller so that no side is longer than `longest`.

    >>> fit_within((900, 1800), 640), fit_within((30, 20), 640), fit_within((20000, 2), 640)
    ((320, 640), (30, 20), (640, 1))
    """
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def draw_picture(image: ImageFile | Tensor, size: tuple[int, int]) -> str:
    """Draw an image, as `image_inputs.read_input` returns it, at `size` (height, width), as a data URI."""
    small = resized(image, size).clamp(0, 1)
    return _data_uri(Image.fromarray((small * 255).round().byte().permute(1, 2, 0).numpy()), "JPEG")


def draw_map(scores: np.ndarray) -> str:
    """Draw a map `(h, w)` of scores from 0 to 1 as colors to lay over the picture: the lower the more transparent."""
    small = _resized(scores, fit_within(_size(scores), MAP_SIDE))
    picture = Image.fromarray((small.clip(0, 1) * 255).round().astype(np.uint8), "L")
    levels = np.linspace(0, 1, 256)
    picture.putpalette(heat_colors(levels).tobytes())
    cover = (heat_cover(levels) * 255).round().astype(np.uint8)
    return _data_uri(picture, "PNG", transparency=cover.tobytes(), optimize=True)


def outline(scores: np.ndarray, level: float, size: tuple[int, int]) -> str:
    """Return the border of the pixels of a map `(h, w)` that reach `level`, as an SVG path on a grid of `size`.

    The path has one line for each straight piece between a pixel inside and a pixel outside.

    >>> outline(np.array([[0.0, 0.9, 0.9]]), 0.5, (1, 3))
    'M1 0h2M1 1h2M1 0v1M3 0v1'
    """
    inside = np.pad(_resized(scores, size) >= level, 1)
    rows = [f"M{start} {row}h{length}" for row, start, length in _runs(inside[:-1, 1:-1] ^ inside[1:, 1:-1])]
    columns = (inside[1:-1, :-1] ^ inside[1:-1, 1:]).T
    return "".join(rows + [f"M{column} {start}v{length}" for column, start, length in _runs(columns)])


def _runs(marked: np.ndarray) -> list[tuple[int, int, int]]:
    """Return row, start and length of all runs of True in the rows of `marked`."""
    steps = np.diff(np.pad(marked, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, starts), (_, ends) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return list(zip(rows.tolist(), starts.tolist(), (ends - starts).tolist(), strict=True))


def _resized(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a map at `size`. Where it becomes smaller, the highest value of each cell stays: defects may be small."""
    values = torch.from_numpy(np.ascontiguousarray(scores, np.float32))[None]
    fewer = [min(old, new) for old, new in zip(scores.shape, size, strict=True)]
    return resize(nn.functional.adaptive_max_pool2d(values, fewer), size)[0].numpy()


def _size(array: np.ndarray) -> tuple[int, int]:
    height, width = array.shape
    return height, width


def _data_uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    quality = {"quality": JPEG_QUALITY} if kind == "JPEG" else {}
    picture.save(buffer, kind, **quality, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
