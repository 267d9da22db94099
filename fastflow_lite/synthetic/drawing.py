"""Drawing tools of the toy data set: coordinates, soft shapes, smooth noise, relief and color.

Everything is float32. A plane (n, n) has n = 2 * size samples a side, two per pixel, against jagged
edges; a picture is three planes (3, n, n) of linear brightness, about 0 to 1. Places and lengths
are image coordinates: u to the right, v down, in image widths from the center.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]  # of 32 bits; numpy's annotations lose that where a plain number joins
Mask = NDArray[np.bool_]
Pair = tuple[Array, Array]

SUPERSAMPLE = 2
FULL_TURN = 2 * math.pi


def plane(size: int) -> Pair:
    """Image coordinates u, v of all samples, each (n, n)."""
    n = SUPERSAMPLE * size
    axis = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    u, v = np.meshgrid(axis, axis)
    return u, v


def turn(u: Array, v: Array, angle: float) -> Pair:
    """Coordinates (n, n) along axes turned by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return c * u + s * v, c * v - s * u


def centered(uv: Pair, spot: tuple[int, int]) -> Pair:
    """Coordinates (n, n) counted from the sample at row and column `spot`."""
    return uv[0] - uv[0][spot], uv[1] - uv[1][spot]


def inside(distance: Array, width: float) -> Array:
    """1 where a signed distance (n, n) is negative, 0 where positive, over a ramp of `width`."""
    return np.clip(0.5 - distance / width, 0, 1)


def blob(rng: Generator, u: Array, v: Array, radius: float) -> Array:
    """Signed distance (n, n), negative inside, to an uneven patch of `radius` at u = v = 0."""
    u, v = turn(u, v, rng.uniform(0, math.pi))
    u = u / rng.uniform(1, 1.6)
    angle = np.arctan2(v, u)
    waves = [(0.3 / k) * np.cos(k * angle + rng.uniform(0, FULL_TURN)) for k in (2, 3, 5, 8)]
    return np.hypot(u, v) - radius * (1 + sum(waves))


def cloud(rng: Generator, n: int, rows: int, columns: int | None = None) -> Array:
    """Smooth noise (n, n) of about unit deviation from rows x columns independent values."""
    field = rng.standard_normal((rows, columns or rows), dtype=np.float32)
    return np.asarray(Image.fromarray(field).resize((n, n), Image.Resampling.BICUBIC))


def relief(height: Array, light: float) -> Array:
    """Brightness change (n, n), -1 to 1, of a surface of `height` lit from the angle `light`."""
    down, right = np.gradient(height, 1 / len(height))
    slope = math.cos(light) * right + math.sin(light) * down
    return -slope / np.sqrt(1 + down**2 + right**2)


def dye(rng: Generator, low: float, high: float, spread: float) -> Array:
    """Draw a muted color (3, 1, 1): brightness between low and high, channels `spread` apart."""
    return rng.uniform(low, high) * rng.normal(1, spread, (3, 1, 1)).astype(np.float32)


def paint(ground: Array, cover: Array, color: Array) -> Array:
    """`color` over `ground`, both (3, n, n), where `cover` (n, n) is 1; in place, and returned."""
    ground += cover * (color - ground)
    return ground


def either(rng: Generator, low: float, high: float) -> float:
    """Draw a number of random sign whose size is between `low` and `high`."""
    return rng.uniform(low, high) * (1 if rng.random() < 0.5 else -1)


def sunlight(rng: Generator) -> float:
    """Draw the angle, in image coordinates, that the light comes from: somewhere at the upper left."""
    return rng.uniform(-2.8, -1.9)


def spot_in(rng: Generator, where: Mask) -> tuple[int, int]:
    """Row and column of a random true sample of `where` (n, n)."""
    hits = np.flatnonzero(where)
    row, column = divmod(int(hits[rng.integers(len(hits))]), where.shape[1])
    return row, column


def any_spot(rng: Generator, n: int) -> tuple[int, int]:
    """Row and column of a random sample well inside the picture."""
    row, column = rng.integers(n // 8, n - n // 8, 2).tolist()
    return row, column
