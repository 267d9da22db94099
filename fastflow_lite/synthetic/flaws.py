"""Flaws: local changes of an image that fit neither its materials nor its outlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from fastflow_lite.synthetic.drawing import Array, inside
from fastflow_lite.synthetic.layers import MaterialPictures, random_piece, random_place, visible


class Place(NamedTuple):
    """Where a flaw lies: coordinates (n, n) around it in units of its `radius`, which is in pixels."""

    u: Array
    v: Array
    radius: float


def _scratch(rng: Generator, image: Array, pictures: MaterialPictures, place: Place) -> Array:
    u, v, radius = place
    bent = np.abs(v + rng.uniform(-0.3, 0.3) * u**2) * radius - rng.uniform(0.3, 1.2)
    cover = inside(bent, 1) * (np.abs(u) < rng.uniform(1, 4))
    return image + cover[..., None] * (rng.uniform(0, 1, 3).astype(np.float32) - image) * rng.uniform(0.4, 1)


def _stain(rng: Generator, image: Array, pictures: MaterialPictures, place: Place) -> Array:
    cover = _blob(rng, place, softest=4)
    return _blend(image, image * rng.uniform(0.2, 1.6, 3).astype(np.float32), cover)


def _patch(rng: Generator, image: Array, pictures: MaterialPictures, place: Place) -> Array:
    cover = _blob(rng, place)
    return _blend(image, random_piece(rng, pictures[rng.integers(len(pictures))], len(image)), cover)


def _shift(rng: Generator, image: Array, pictures: MaterialPictures, place: Place) -> Array:
    cover = _blob(rng, place)
    return _blend(image, np.roll(image, rng.integers(2, 12, 2) * rng.choice([-1, 1], 2), (0, 1)), cover)


def _smear(rng: Generator, image: Array, pictures: MaterialPictures, place: Place) -> Array:
    cover = _blob(rng, place)
    return _blend(image, ndimage.uniform_filter(image, (int(rng.integers(3, 9)), int(rng.integers(3, 9)), 0)), cover)


def _swap(rng: Generator, image: Array, pictures: MaterialPictures, place: Place) -> Array:
    """Replace a spot by the same spot of the turned or mirrored image."""
    cover = _blob(rng, place)
    return _blend(image, np.rot90(image, int(rng.integers(1, 4))) if rng.random() < 0.5 else image[::-1], cover)


def _blob(rng: Generator, place: Place, softest: float | None = None) -> Array:
    """Return 1 inside an uneven spot and 0 outside (n, n); the edge is up to `softest` pixels wide, 1 if not given."""
    u, v, radius = place
    angle = np.arctan2(v, u)
    wobble = sum(rng.uniform(-0.25, 0.25) * np.cos(k * angle + rng.uniform(0, 7)) for k in (2, 3, 5))
    soft = 1 if softest is None else rng.uniform(0.5, softest)
    return inside(radius * (np.hypot(u, v * rng.uniform(1, 2)) - 1 - wobble), soft)


def _blend(image: Array, other: Array, cover: Array) -> Array:
    return image + cover[..., None] * (np.clip(other, 0, 1) - image)


KINDS: dict[str, Callable[[Generator, Array, MaterialPictures, Place], Array]] = {
    "scratch": _scratch,
    "stain": _stain,
    "patch": _patch,
    "shift": _shift,
    "smear": _smear,
    "swap": _swap,
}
FLAWS = tuple(KINDS)


def add_flaw(
    rng: Generator, image: Array, pictures: MaterialPictures, x: Array, y: Array, kinds: Sequence[str] = FLAWS
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the image with one local change of a random kind, and where it is (n, n).

    `x` and `y` (n, n) are the pixels' coordinates.
    """
    kind = kinds[int(rng.integers(len(kinds)))]
    radius = len(x) * math.exp(rng.uniform(math.log(0.03), math.log(0.18)))
    changed = KINDS[kind](rng, image, pictures, Place(*random_place(rng, x, y, radius), radius))
    return changed, visible(image, changed)
