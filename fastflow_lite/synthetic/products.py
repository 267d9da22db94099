"""Products: many pictures of one made-up thing in different places and poses, some of them with flaws.

A flaw can be recognized only by comparison with the other pictures, as in anomaly detection itself. The third stage of
benchmarks/pretrain learns from such pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from fastflow_lite.synthetic.drawing import Array
from fastflow_lite.synthetic.flaws import FLAWS, add_flaw
from fastflow_lite.synthetic.layers import (
    MaterialPictures,
    bevel,
    blend,
    random_window,
    shadow,
    turn_and_scale,
    visible,
)
from fastflow_lite.synthetic.outlines import Outline
from fastflow_lite.synthetic.scenes import GROUND, Scene

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
    """A ground and up to three parts, and how much the product's pictures differ in angle, place and size.

    The parts are drawn by `rng` from so many `materials` and `outlines`; `picture` has a generator of its own.
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

    def picture(
        self, rng: Generator, pictures: MaterialPictures, outlines: Sequence[Outline], size: int, flaws: int
    ) -> Scene:
        """Draw one picture, `size` pixels a side, with `flaws` flaws, marked where they can be seen."""
        kinds = [str(kind) for kind in rng.choice(KINDS, flaws)]
        pose, seed = self._pose(rng), int(rng.integers(2**32))
        scene = self._draw(np.random.default_rng(seed), pictures, outlines, size, pose, [])
        if not flaws:
            return scene
        changed = [k for k in kinds if k not in FLAWS and self.parts]
        flawed = self._draw(np.random.default_rng(seed), pictures, outlines, size, pose, changed) if changed else scene
        image, flaw = flawed.image, visible(scene.image, flawed.image)
        x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
        for kind in kinds:
            if kind in FLAWS or not self.parts:
                image, where = add_flaw(rng, image, pictures, x, y, [kind] if kind in FLAWS else FLAWS)
                flaw |= where
        return Scene(np.clip(image, 0, 1), flawed.material, flawed.outline, flaw)

    def _piece(self, rng: Generator, pictures: NDArray[np.uint8], size: int) -> Array:
        """Cut a random window (size, size, 3), 0 to 1, out of a picture of a material."""
        number = int(rng.integers(len(pictures)))
        return random_window(rng, pictures[number if self.steady is None else self.steady % len(pictures)], size)

    def _pose(self, rng: Generator) -> tuple[float, Array, float]:
        return (
            rng.uniform(-self.turn, self.turn),
            rng.uniform(-self.move, self.move, 2),
            self.grow ** rng.uniform(-1, 1),
        )

    def _draw(
        self,
        rng: Generator,
        pictures: MaterialPictures,
        outlines: Sequence[Outline],
        size: int,
        pose: tuple[float, Array, float],
        changes: list[str],
    ) -> Scene:
        """Draw the product in a pose.

        The same random numbers are drawn whatever the `changes`, so that pictures differ by these alone.
        """
        angle, move, grow = pose
        axis = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
        x, y = np.meshgrid(axis - move[0], axis - move[1])
        x, y = turn_and_scale(x, y, angle, grow)
        image, material = self._piece(rng, pictures[self.ground], size), np.full((size, size), self.ground)
        scene = Scene(image, material, np.full((size, size), GROUND), np.zeros((size, size), bool))
        victim = int(rng.integers(len(self.parts))) if self.parts else 0
        for k, part in enumerate(self.parts):
            piece, spare = self._piece(rng, pictures[part.material], size), int(rng.integers(len(pictures)))
            bump, box = _draw_bump(rng, size), _around(part, x, y)
            distance: Array = self._distance(part, outlines, x[box], y[box]) * size / 2
            layer = _Layer(part.material, piece[box], distance)
            if k == victim:
                other = _Layer(spare, pictures[spare][0, :size, :size][box] / np.float32(255), bump(distance))
                for kind in sorted(set(changes)):
                    layer = PART_CHANGES[kind](layer, other)
            _lay(scene, part, layer, box)
        return replace(scene, image=np.clip(scene.image, 0, 1))

    @staticmethod
    def _distance(part: Part, outlines: Sequence[Outline], x: Array, y: Array) -> Array:
        x, y = x - np.float32(part.center[0]), y - np.float32(part.center[1])
        x, y = turn_and_scale(x, y, part.angle, part.radius)
        return (part.radius * outlines[part.outline].distance(x, y)).astype(np.float32)


@dataclass(frozen=True)
class _Layer:
    """A part in its box: the number of its material, a piece (h, w, 3) of it, and the distance (h, w) to its edge."""

    material: int
    piece: Array
    distance: Array


# The layer of a part and, for its material and its edge, another one -> the changed layer.
PART_CHANGES: dict[str, Callable[[_Layer, _Layer], _Layer]] = {
    "absent": lambda layer, other: replace(layer, distance=np.full_like(layer.distance, np.inf)),
    "edge": lambda layer, other: replace(layer, distance=np.where(np.isinf(layer.distance), np.inf, other.distance)),
    "other": lambda layer, other: replace(layer, material=other.material, piece=other.piece),
}


def _lay(scene: Scene, part: Part, layer: _Layer, box: tuple[slice, slice]) -> None:
    """Draw a part over the scene, in place."""
    below, above, d = scene.image[box], layer.piece, layer.distance
    if part.shade:
        below = shadow(below, d, (3, 2), 4, part.shade)
    if part.rim:
        above = bevel(above, d, 2.5, part.rim)
    scene.image[box] = blend(below, above, d)
    scene.material[box][d < 0], scene.outline[box][d < 0] = layer.material, part.outline + 1


def _around(part: Part, x: Array, y: Array) -> tuple[slice, slice]:
    """Return the rows and columns that a part and its shadow reach; the rest need not be computed."""
    near = np.hypot(x - part.center[0], y - part.center[1]) < 2.5 * part.radius + 0.2
    return ndimage.find_objects(near.astype(np.uint8))[0] if near.any() else (slice(0), slice(0))


def _draw_bump(rng: Generator, size: int) -> Callable[[Array], Array]:
    """Return a function that puts one bump or notch, always the same, on the edge that a distance describes."""
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
