"""Scenes: pieces of procedural material, cut to drawn outlines, laid over one another and locally changed.

Each pixel has its labels from the formulas: the material it shows, the outline it belongs to (0: the ground), and
whether a flaw changed it afterwards. Nothing is labeled by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fastflow_lite.synthetic.drawing import Array
from fastflow_lite.synthetic.flaws import FLAWS, add_flaw
from fastflow_lite.synthetic.layers import MaterialPictures, bevel, blend, random_piece, random_place, shadow
from fastflow_lite.synthetic.outlines import Outline

GROUND = 0  # the outline number of what is no object


@dataclass
class Scene:
    """`image` (n, n, 3) in 0..1; `material`, `outline` (n, n) int; `flaw` (n, n) bool."""

    image: Array
    material: NDArray[np.int64]
    outline: NDArray[np.int64]
    flaw: NDArray[np.bool_]


def compose(
    rng: Generator,
    pictures: MaterialPictures,
    outlines: Sequence[Outline],
    size: int,
    objects: int = 3,
    flaws: int = 3,
    smallest: float = 0.18,
    kinds: Sequence[str] = FLAWS,
) -> Scene:
    """Draw one scene `size` pixels a side of at most `objects` objects and `flaws` flaws, their numbers drawn evenly.

    `pictures` are pictures of materials, at least `size` pixels a side. Objects have radii of `smallest` to 0.6 of the
    side; no flaw is larger than 0.18, so size tells a thing that belongs from one that does not. A flaw's kind is
    drawn from `kinds`, where one may stand twice.
    """
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    number = int(rng.integers(len(pictures)))
    image, material = random_piece(rng, pictures[number], size), np.full((size, size), number)
    outline = np.full((size, size), GROUND)
    for _ in range(rng.integers(objects + 1)):
        number, shape = int(rng.integers(len(pictures))), int(rng.integers(len(outlines)))
        radius = size * math.exp(rng.uniform(math.log(smallest), math.log(0.6)))
        u, v = random_place(rng, x, y, radius)
        d = radius * outlines[shape].distance(u, v)
        image = _lay(rng, image, random_piece(rng, pictures[number], size), d)
        material[d < 0], outline[d < 0] = number, shape + 1
    flaw = np.zeros((size, size), bool)
    for _ in range(rng.integers(flaws + 1)):
        image, changed = add_flaw(rng, image, pictures, x, y, kinds)
        flaw |= changed
    return Scene(np.clip(image, 0, 1), material, outline, flaw)  # blending may round just past the ends


def _lay(rng: Generator, below: Array, above: Array, distance: Array) -> Array:
    """Lay `above` over `below` where `distance` (pixels) is negative; perhaps with a shadow and a beveled rim."""
    if rng.random() < 0.5:
        shift = tuple(rng.integers(-4, 5, 2).tolist())
        below = shadow(below, distance, shift, rng.uniform(1, 8), rng.uniform(0.2, 0.7))
    if rng.random() < 0.4:
        above = bevel(above, distance, rng.uniform(1, 5), rng.uniform(-0.4, 0.4))
    return blend(below, above, distance)
