"""Made-up products: pictures of one thing again and again, its places and lights differing, some of them spoilt.

What is odd about a picture shows only beside the others. So the questions that these pictures pose are those of
anomaly detection itself, and the third stage of benchmarks/pretrain asks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from fastflow_lite.synthetic.drawing import Array
from fastflow_lite.synthetic.scenes import (
    FLAWS,
    GROUND,
    Outline,
    Scene,
    Tiles,
    bevel,
    blend,
    shadow,
    spoil,
    turned,
    visible,
    window,
)

KINDS = (*FLAWS, "stain", "stain", "edge", "edge", "absent", "other")  # the last four need a part


@dataclass
class Part:
    """One object of a product: its outline and material, where it lies and how large it is, in half sides."""

    outline: int
    material: int
    center: tuple[float, float]
    angle: float
    radius: float
    rim: float
    shade: float


class Product:
    """A ground and up to three parts, of so many materials and outlines, and how much its pictures differ.

    They differ in turn, place and size. `rng` draws the product; `picture` takes one of its own.
    """

    def __init__(self, rng: Generator, materials: int, outlines: int) -> None:
        self.ground, self.parts = int(rng.integers(materials)), []
        for k in range(int(rng.integers(4))):
            where = rng.uniform(-0.7, 0.7, 2) * (k > 0)
            radius = math.exp(rng.uniform(math.log(0.3 if k else 0.5), math.log(0.6 if k else 1.1)))
            self.parts.append(self._part(rng, where, radius, materials, outlines))
        self.steady = int(rng.integers(2**31)) if rng.random() < 0.5 else None  # one picture of each material, or all
        self.turn = rng.choice([0.1, 0.3, math.pi])
        self.move, self.grow = rng.uniform(0, 0.25), rng.uniform(1, 1.15)

    @staticmethod
    def _part(rng: Generator, where: Array, radius: float, materials: int, outlines: int) -> Part:
        rim, shade = rng.uniform(-0.4, 0.4) * (rng.random() < 0.4), rng.uniform(0.2, 0.7) * (rng.random() < 0.5)
        chosen = int(rng.integers(outlines)), int(rng.integers(materials))
        return Part(*chosen, tuple(where), rng.uniform(0, 2 * math.pi), radius, rim, shade)

    def picture(self, rng: Generator, tiles: Tiles, outlines: Sequence[Outline], size: int, flaws: int) -> Scene:
        """One picture `size` pixels a side with so many flaws, seen where it differs from the same without them."""
        kinds = [str(kind) for kind in rng.choice(KINDS, flaws)]
        pose, seed = self._pose(rng), int(rng.integers(2**32))
        scene = self._draw(np.random.default_rng(seed), tiles, outlines, size, pose, [])
        if not flaws:
            return scene
        changed = [k for k in kinds if k not in FLAWS and self.parts]
        flawed = self._draw(np.random.default_rng(seed), tiles, outlines, size, pose, changed) if changed else scene
        image, flaw = flawed.image, visible(scene.image, flawed.image)
        x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
        for kind in kinds:
            if kind in FLAWS or not self.parts:
                image, where = spoil(rng, image, tiles, x, y, [kind] if kind in FLAWS else FLAWS)
                flaw |= where
        return Scene(np.clip(image, 0, 1), flawed.material, flawed.outline, flaw)

    def _piece(self, rng: Generator, pictures: Tiles, size: int) -> Array:
        """A random window (size, size, 3), 0 to 1, of a picture of a material."""
        number = int(rng.integers(len(pictures)))
        return window(rng, pictures[number if self.steady is None else self.steady % len(pictures)], size)

    def _pose(self, rng: Generator) -> tuple[float, Array, float]:
        return (
            rng.uniform(-self.turn, self.turn),
            rng.uniform(-self.move, self.move, 2),
            self.grow ** rng.uniform(-1, 1),
        )

    def _draw(
        self,
        rng: Generator,
        tiles: Tiles,
        outlines: Sequence[Outline],
        size: int,
        pose: tuple[float, Array, float],
        changes: list[str],
    ) -> Scene:
        """The product in a pose. Draws the same numbers whatever the changes, so that only they make a difference."""
        angle, move, grow = pose
        axis = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
        x, y = np.meshgrid(axis - move[0], axis - move[1])
        x, y = turned(x, y, angle, grow)
        image, material = self._piece(rng, tiles[self.ground], size), np.full((size, size), self.ground)
        outline = np.full((size, size), GROUND)
        victim = int(rng.integers(len(self.parts))) if self.parts else 0
        for k, part in enumerate(self.parts):
            number, stuff = part.material, self._piece(rng, tiles[part.material], size)
            spare = int(rng.integers(len(tiles)))
            bump, box = _draw_bump(rng, size), _around(part, x, y)
            if k == victim:
                if "absent" in changes:
                    continue
                if "other" in changes:
                    number, stuff = spare, tiles[spare][0, :size, :size] / np.float32(255)
            d: Array = self._distance(part, outlines, x[box], y[box]) * size / 2
            if k == victim and "edge" in changes:
                d = bump(d)
            below, above = image[box], stuff[box]
            if part.shade:
                below = shadow(below, d, (3, 2), 4, part.shade)
            if part.rim:
                above = bevel(above, d, 2.5, part.rim)
            image[box] = blend(below, above, d)
            material[box][d < 0], outline[box][d < 0] = number, part.outline + 1
        return Scene(np.clip(image, 0, 1), material, outline, np.zeros((size, size), bool))

    @staticmethod
    def _distance(part: Part, outlines: Sequence[Outline], x: Array, y: Array) -> Array:
        x, y = x - np.float32(part.center[0]), y - np.float32(part.center[1])
        x, y = turned(x, y, part.angle, part.radius)
        return (part.radius * outlines[part.outline].distance(x, y)).astype(np.float32)


def _around(part: Part, x: Array, y: Array) -> tuple[slice, slice]:
    """Rows and columns that a part and its shadow reach; what lies outside need not be computed."""
    near = np.hypot(x - part.center[0], y - part.center[1]) < 2.5 * part.radius + 0.2
    return ndimage.find_objects(near.astype(np.uint8))[0] if near.any() else (slice(0), slice(0))


def _draw_bump(rng: Generator, size: int) -> Callable[[Array], Array]:
    """What puts a bump or a notch, always the same, somewhere on the edge that a distance describes."""
    radius, outward, chosen = size * rng.uniform(0.03, 0.1), rng.random() < 0.5, int(rng.integers(2**31))

    def change(d: Array) -> Array:
        edge = np.argwhere(np.abs(d) < 1.5)
        if not len(edge):
            return d
        down, right = edge[chosen % len(edge)]
        rows, columns = np.ogrid[: d.shape[0], : d.shape[1]]
        disc = (np.hypot(rows - down, columns - right) - radius).astype(np.float32)
        return np.minimum(d, disc) if outward else np.maximum(d, -disc)

    return change
