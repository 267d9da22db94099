"""Scenes: pieces of procedural material, cut to drawn outlines, laid over one another and locally spoilt.

A scene comes with what the formulas know about each pixel: which material it shows, which outline it belongs to
(0: the ground), and whether something was done to it afterwards that fits neither. Nothing is labeled by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from fastflow_lite.synthetic.drawing import Array, inside

Tiles = NDArray[np.uint8]  # (materials, pictures of each, side, side, 3)

GROUND = 0  # the outline number of what is no object
FLAWS = ("scratch", "stain", "patch", "shift", "smear", "swap")


@dataclass
class Scene:
    """`image` (n, n, 3) in 0..1; `material`, `outline` (n, n) int; `flaw` (n, n) bool."""

    image: Array
    material: NDArray[np.int64]
    outline: NDArray[np.int64]
    flaw: NDArray[np.bool_]


class Outline:
    """The closed curve of a number: a polygon, a wavy ring or a superellipse, with or without a hole."""

    def __init__(self, number: int) -> None:
        draw = np.random.default_rng([number, 11])
        self.kind = number % 3
        self.corners, self.star = int(draw.integers(3, 9)), draw.uniform(0, 0.5) * (draw.random() < 0.5)
        orders = np.arange(2, 9)
        self.orders, self.heights = orders, draw.normal(0, 0.35, len(orders)) / orders
        self.phases, self.power = draw.uniform(0, 2 * math.pi, len(orders)), draw.choice([1.2, 2, 3, 6])
        self.slim = draw.uniform(1, 2.2)
        self.hole = draw.uniform(0.2, 0.6) if draw.random() < 0.3 else 0.0
        self.off = draw.uniform(-0.3, 0.3, 2) if self.hole < 0.4 else np.zeros(2)

    def distance(self, x: Array, y: Array) -> Array:
        """About the signed distance (n, n), negative inside, in units of the outline's radius."""
        a, b = np.abs(x), np.abs(y) * self.slim
        if self.kind == 0:
            angle = np.arctan2(y * self.slim, x)
            step = 2 * math.pi / self.corners
            fold = np.abs((angle % step) - step / 2)
            d = np.hypot(x, y * self.slim) * (np.cos(fold) + self.star * fold) / math.cos(step / 2) - 1
        elif self.kind == 1:
            angle = np.arctan2(y * self.slim, x)
            waves = np.cos(angle[..., None] * self.orders + self.phases) @ self.heights
            d = np.hypot(x, y * self.slim) - (1 + waves).astype(np.float32)
        else:
            d = (a**self.power + b**self.power) ** (1 / self.power) - 1
        if self.hole:
            d = np.maximum(d, self.hole - np.hypot(x - self.off[0], y - self.off[1]))
        return d


def compose(
    rng: Generator,
    tiles: Tiles,
    outlines: Sequence[Outline],
    size: int,
    objects: int = 3,
    flaws: int = 3,
    smallest: float = 0.18,
    kinds: Sequence[str] = FLAWS,
) -> Scene:
    """One scene `size` pixels a side of at most `objects` objects and `flaws` flaws, their numbers drawn evenly.

    `tiles` are pictures of materials, at least `size` pixels a side. Objects have radii of `smallest` to 0.6 of the
    side; no flaw is larger than 0.18, so size tells a thing that belongs from one that does not. A flaw's kind is
    drawn from `kinds`, where one may stand twice.
    """
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    number = int(rng.integers(len(tiles)))
    image, material = _piece(rng, tiles[number], size), np.full((size, size), number)
    outline = np.full((size, size), GROUND)
    for _ in range(rng.integers(objects + 1)):
        number, shape = int(rng.integers(len(tiles))), int(rng.integers(len(outlines)))
        radius = size * math.exp(rng.uniform(math.log(smallest), math.log(0.6)))
        u, v = _placed(rng, x, y, radius)
        d = radius * outlines[shape].distance(u, v)
        image = _lay(rng, image, _piece(rng, tiles[number], size), d)
        material[d < 0], outline[d < 0] = number, shape + 1
    flaw = np.zeros((size, size), bool)
    for _ in range(rng.integers(flaws + 1)):
        image, changed = spoil(rng, image, tiles, x, y, kinds)
        flaw |= changed
    return Scene(np.clip(image, 0, 1), material, outline, flaw)  # blending may round just past the ends


def _piece(rng: Generator, pictures: Tiles, size: int) -> Array:
    """A random window (size, size, 3), 0 to 1, of one of a material's pictures."""
    return window(rng, pictures[rng.integers(len(pictures))], size)


def window(rng: Generator, picture: NDArray[np.uint8], size: int) -> Array:
    """A random window (size, size, 3), 0 to 1, of a picture."""
    top, left = rng.integers(0, picture.shape[0] - size + 1, 2)
    return picture[top : top + size, left : left + size] / np.float32(255)


def _placed(rng: Generator, x: Array, y: Array, radius: float) -> tuple[Array, Array]:
    """Coordinates around a random point, turned at random, in units of `radius`."""
    cx, cy = rng.uniform(0, len(x), 2)
    return turned(x - cx, y - cy, rng.uniform(0, 2 * math.pi), radius)


def turned(x: Array, y: Array, angle: float, unit: float) -> tuple[Array, Array]:
    """Coordinates along axes turned by `angle` radians, in multiples of `unit`."""
    c, s = math.cos(angle) / unit, math.sin(angle) / unit
    return x * c + y * s, y * c - x * s


def _lay(rng: Generator, below: Array, above: Array, distance: Array) -> Array:
    """`above` over `below` where `distance` (pixels) is negative; perhaps with a shadow and a beveled rim."""
    if rng.random() < 0.5:
        shift = tuple(rng.integers(-4, 5, 2).tolist())
        below = shadow(below, distance, shift, rng.uniform(1, 8), rng.uniform(0.2, 0.7))
    if rng.random() < 0.4:
        above = bevel(above, distance, rng.uniform(1, 5), rng.uniform(-0.4, 0.4))
    return blend(below, above, distance)


def shadow(below: Array, distance: Array, shift: tuple[int, ...], width: float, strength: float) -> Array:
    """`below`, darkened where `distance` is negative, `shift` further down and right; soft over `width`."""
    return below * (1 - strength * inside(np.roll(distance, shift, (0, 1)), width))[..., None]


def bevel(above: Array, distance: Array, width: float, height: float) -> Array:
    """`above`, brighter (darker for a negative `height`) within about `width` of its edge."""
    rim = np.exp(-((distance / width) ** 2)) * height
    return np.clip(above + rim[..., None], 0, 1)


def blend(below: Array, above: Array, distance: Array) -> Array:
    """`above` over `below` where `distance` is negative; the edge blends over one pixel."""
    return below + inside(distance, 1)[..., None] * (above - below)


# ---- flaws ---------------------------------------------------------------------------------------------------------


def spoil(
    rng: Generator, image: Array, tiles: Tiles, x: Array, y: Array, kinds: Sequence[str] = FLAWS
) -> tuple[Array, NDArray[np.bool_]]:
    """The image with one local change of a random kind, and where it is (n, n)."""
    size, kind = len(x), kinds[int(rng.integers(len(kinds)))]
    radius = size * math.exp(rng.uniform(math.log(0.03), math.log(0.18)))
    u, v = _placed(rng, x, y, radius)
    if kind == "scratch":
        bent = np.abs(v + rng.uniform(-0.3, 0.3) * u**2) * radius - rng.uniform(0.3, 1.2)
        cover = inside(bent, 1) * (np.abs(u) < rng.uniform(1, 4))
        changed = image + cover[..., None] * (rng.uniform(0, 1, 3).astype(np.float32) - image) * rng.uniform(0.4, 1)
        return _checked(image, changed)
    angle = np.arctan2(v, u)
    wobble = sum(rng.uniform(-0.25, 0.25) * np.cos(k * angle + rng.uniform(0, 7)) for k in (2, 3, 5))
    soft = rng.uniform(0.5, 4) if kind == "stain" else 1
    cover = inside(radius * (np.hypot(u, v * rng.uniform(1, 2)) - 1 - wobble), soft)[..., None]
    if kind == "stain":
        other = image * rng.uniform(0.2, 1.6, 3).astype(np.float32)
    elif kind == "patch":
        other = _piece(rng, tiles[rng.integers(len(tiles))], size)
    elif kind == "shift":
        other = np.roll(image, rng.integers(2, 12, 2) * rng.choice([-1, 1], 2), (0, 1))
    elif kind == "smear":
        other = ndimage.uniform_filter(image, (int(rng.integers(3, 9)), int(rng.integers(3, 9)), 0))
    else:  # swap: the same place, mirrored or turned
        other = np.rot90(image, int(rng.integers(1, 4))) if rng.random() < 0.5 else image[::-1]
    return _checked(image, image + cover * (np.clip(other, 0, 1) - image))


def _checked(before: Array, after: Array) -> tuple[Array, NDArray[np.bool_]]:
    """`after`, and where it visibly differs from `before`."""
    return after, visible(before, after)


def visible(before: Array, after: Array) -> NDArray[np.bool_]:
    """Where (n, n) two images (n, n, 3) differ so much that it can be seen."""
    return np.abs(after - before).max(axis=2) > 0.06
