"""Closed curves by their number: what the objects of scenes and products look like from above."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastflow_lite.synthetic.drawing import Array


class Outline:
    """The closed curve of a number: a polygon, a wavy ring or a superellipse, with or without a hole."""

    def __init__(self, number: int) -> None:
        draw = np.random.default_rng([number, 11])
        self.kind = number % len(SHAPES)
        self.corners, self.star = int(draw.integers(3, 9)), draw.uniform(0, 0.5) * (draw.random() < 0.5)
        orders = np.arange(2, 9)
        self.orders, self.heights = orders, draw.normal(0, 0.35, len(orders)) / orders
        self.phases, self.power = draw.uniform(0, 2 * math.pi, len(orders)), draw.choice([1.2, 2, 3, 6])
        self.slim = draw.uniform(1, 2.2)
        self.hole = draw.uniform(0.2, 0.6) if draw.random() < 0.3 else 0.0
        self.off = draw.uniform(-0.3, 0.3, 2) if self.hole < 0.4 else np.zeros(2)

    def distance(self, x: Array, y: Array) -> Array:
        """Compute about the signed distance (n, n), negative inside, in units of the outline's radius."""
        d = SHAPES[self.kind](self, x, y)
        if self.hole:
            d = np.maximum(d, self.hole - np.hypot(x - self.off[0], y - self.off[1]))
        return d


def _polygon(outline: Outline, x: Array, y: Array) -> Array:
    angle = np.arctan2(y * outline.slim, x)
    step = 2 * math.pi / outline.corners
    fold = np.abs((angle % step) - step / 2)
    radius = np.hypot(x, y * outline.slim)
    return radius * (np.cos(fold) + outline.star * fold) / math.cos(step / 2) - 1


def _wavy_ring(outline: Outline, x: Array, y: Array) -> Array:
    angle = np.arctan2(y * outline.slim, x)
    waves = np.cos(angle[..., None] * outline.orders + outline.phases) @ outline.heights
    return np.hypot(x, y * outline.slim) - (1 + waves).astype(np.float32)


def _superellipse(outline: Outline, x: Array, y: Array) -> Array:
    a, b = np.abs(x), np.abs(y) * outline.slim
    return (a**outline.power + b**outline.power) ** (1 / outline.power) - 1


SHAPES: tuple[Callable[[Outline, Array, Array], Array], ...] = (_polygon, _wavy_ring, _superellipse)
