"""Layers of a picture: pieces of material, coordinates around a place, and one layer laid over another."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fastflow_lite.synthetic.drawing import Array, inside

MaterialPictures = NDArray[np.uint8]  # (materials, pictures of each, side, side, 3)


def random_piece(rng: Generator, pictures: NDArray[np.uint8], size: int) -> Array:
    """Cut a random window (size, size, 3), 0 to 1, out of one of a material's pictures."""
    return random_window(rng, pictures[rng.integers(len(pictures))], size)


def random_window(rng: Generator, picture: NDArray[np.uint8], size: int) -> Array:
    """Cut a random window (size, size, 3), 0 to 1, out of a picture."""
    top, left = rng.integers(0, picture.shape[0] - size + 1, 2)
    return picture[top : top + size, left : left + size] / np.float32(255)


def turn_and_scale(x: Array, y: Array, angle: float, unit: float) -> tuple[Array, Array]:
    """Return coordinates along axes turned by `angle` radians, in multiples of `unit`."""
    c, s = math.cos(angle) / unit, math.sin(angle) / unit
    return x * c + y * s, y * c - x * s


def shadow(below: Array, distance: Array, shift: tuple[int, ...], width: float, strength: float) -> Array:
    """Return `below`, darkened where `distance` is negative, `shift` further down and right; soft over `width`."""
    return below * (1 - strength * inside(np.roll(distance, shift, (0, 1)), width))[..., None]


def bevel(above: Array, distance: Array, width: float, height: float) -> Array:
    """Return `above`, brighter (darker for a negative `height`) within about `width` of its edge."""
    rim = np.exp(-((distance / width) ** 2)) * height
    return np.clip(above + rim[..., None], 0, 1)


def blend(below: Array, above: Array, distance: Array) -> Array:
    """Lay `above` over `below` where `distance` is negative; the edge blends over one pixel."""
    return below + inside(distance, 1)[..., None] * (above - below)


def random_place(rng: Generator, x: Array, y: Array, radius: float) -> tuple[Array, Array]:
    """Return coordinates around a random point, turned at random, in units of `radius`."""
    cx, cy = rng.uniform(0, len(x), 2)
    return turn_and_scale(x - cx, y - cy, rng.uniform(0, 2 * math.pi), radius)


def visible(before: Array, after: Array) -> NDArray[np.bool_]:
    """Return where (n, n) two images (n, n, 3) differ so much that it can be seen."""
    return np.abs(after - before).max(axis=2) > 0.06
