"""Procedural materials: six families of formulas, each material one draw of a family's parameters.

`Material(number)` is always the same stuff; `render(rng, size)` is one picture of it. The draw fixes
what makes two pieces of one stuff look alike (family, frequencies, shapes, contrast, main colors); every picture has
its own phase, light, small turn and scale, and its own noise. Lengths are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

from fastflow_lite.synthetic.drawing import Array, cloud, inside, turn

Field = Callable[[Generator, Array, Array], Array]  # own noise, x and y (n, n) in pixels -> about 0 to 1 (n, n)


def unit(field: Array) -> Array:
    """Return a field (n, n) shifted and scaled to mean 0.5 and deviation 0.2, cut to 0..1."""
    return np.clip(0.5 + 0.2 * (field - field.mean()) / (field.std() + 1e-6), 0, 1).astype(np.float32)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw a number between `low` and `high` whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def smooth_noise(rng: Generator, n: int, length: float) -> Array:
    """Noise (n, n) of unit deviation that varies over about `length` pixels."""
    return cloud(rng, n, max(3, round(n / length) + 2))


def turn_of(x: Array, y: Array) -> float:
    """Return the angle by which the coordinates (n, n) of a picture are turned."""
    return math.atan2(y[0, -1] - y[0, 0], x[0, -1] - x[0, 0])


# ---- the families: each takes the material's own generator and returns a field ------------------------------------


def spectral(draw: Generator) -> Field:
    """Noise with a drawn spectrum: a power law, a band or both, stretched along a direction."""
    power, angle = draw.uniform(0, 2.2), draw.uniform(0, math.pi)
    stretch = log_uniform(draw, 1, 8) if draw.random() < 0.5 else 1.0
    band, width = log_uniform(draw, 3, 24), draw.uniform(0.15, 0.6)
    banded, shape = draw.random() < 0.6, draw.integers(4)

    def field(rng: Generator, x: Array, y: Array) -> Array:
        n = len(x)
        tilt = turn_of(x, y)
        zoom = n / math.hypot(x[0, -1] - x[0, 0], y[0, -1] - y[0, 0])
        fy, fx = np.meshgrid(np.fft.fftfreq(n), np.fft.rfftfreq(n), indexing="ij")
        a, b = turn(fx, fy, angle - tilt)
        radius = np.hypot(a * stretch, b) * zoom + 1e-4
        gain = radius**-power
        if banded:
            gain = gain * np.exp(-((np.log(radius * band) / width) ** 2))
        noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n), dtype=np.float32)) * gain, (n, n))
        noise = (noise / (noise.std() + 1e-9)).astype(np.float32)
        if shape == 1:
            noise = -np.abs(noise)  # ridges
        elif shape == 2:
            noise = np.tanh(4 * noise)  # patches
        elif shape == 3:
            noise = np.sin(3 * noise)  # contour lines
        return unit(noise)

    return field


def lattice(draw: Generator) -> Field:
    """Repeat a cell: dots, squares, lines, bricks, hexagons or a weave, somewhat warped."""
    period, aspect = log_uniform(draw, 5, 32), draw.uniform(0.6, 1.6)
    kind, size, soft = CELLS[draw.integers(len(CELLS))], draw.uniform(0.2, 0.42), draw.uniform(0.03, 0.2)
    warp, tones = draw.uniform(0, 0.2), draw.uniform(0, 0.35)
    shift = draw.choice([0, 0.5]) if kind != "bricks" else 0.5

    def field(rng: Generator, x: Array, y: Array) -> Array:
        n = len(x)
        u = x / period + warp * smooth_noise(rng, n, 3 * period)
        v = y / (period * aspect) + warp * smooth_noise(rng, n, 3 * period)
        u = u + shift * (np.floor(v) % 2)
        i, j = np.floor(u), np.floor(v)
        cell = rng.random((64, 64), dtype=np.float32)[i.astype(int) % 64, j.astype(int) % 64] - 0.5
        if kind == "weave":
            return unit(_weave(u, v) + tones * cell)
        distance = CELL_SHAPES[kind](u - i - 0.5, v - j - 0.5) - (size * 0.6 if kind == "lines" else size)
        return unit(inside(distance, soft) * (1 + 2 * tones * cell))

    return field


def _weave(u: Array, v: Array) -> Array:
    """Compute the height (n, n) of threads that pass over and under one another, one thread a unit."""
    i, j = np.floor(u), np.floor(v)
    over = np.sin(math.pi * v) * (1 - 2 * (i % 2)) > np.sin(math.pi * u) * (2 * (j % 2) - 1)
    return np.where(over, np.cos(math.pi * (u - i - 0.5)), 0.8 * np.cos(math.pi * (v - j - 0.5)))


# Places a, b (n, n) in a cell, counted from its center -> the size of the shape whose edge runs there.
CELL_SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "dots": lambda a, b: np.hypot(a, b),
    "squares": lambda a, b: np.maximum(np.abs(a), np.abs(b)),
    "lines": lambda a, b: np.abs(a),
    "bricks": lambda a, b: np.maximum(np.abs(a), np.abs(b)),
    "hexagons": lambda a, b: np.maximum(np.abs(a), np.abs(a) / 2 + np.abs(b) * 0.87),
}
CELLS = (*CELL_SHAPES, "weave")


def cells(draw: Generator) -> Field:
    """Voronoi cells around jittered points: their borders, their distance or a tone for each."""
    period, jitter = log_uniform(draw, 6, 30), draw.uniform(0.2, 0.6)
    kind, aspect, power = draw.integers(4), log_uniform(draw, 0.5, 2), draw.uniform(0.5, 2)

    def field(rng: Generator, x: Array, y: Array) -> Array:
        u, v = x / period, y / (period * aspect)
        lo, hi = [math.floor(min(u.min(), v.min())) - 2, math.ceil(max(u.max(), v.max())) + 3]
        grid = np.stack(np.meshgrid(np.arange(lo, hi), np.arange(lo, hi)), -1).reshape(-1, 2)
        points = grid + rng.normal(0, jitter, grid.shape)
        near, index = cKDTree(points).query(np.stack([u, v], -1).reshape(-1, 2), k=2, eps=0.05)
        first, second = near[:, 0].reshape(u.shape), near[:, 1].reshape(u.shape)
        if kind == 0:
            return unit(np.minimum(second - first, 0.25))
        if kind == 1:
            return unit(first**power)
        tone = rng.random(len(points))[index[:, 0]].reshape(u.shape)
        return unit(tone if kind == 2 else tone + 2 * np.minimum(second - first, 0.15))

    return field


def leaves(draw: Generator) -> Field:
    """Dead leaves (Lee, Mumford and Huang, 2001): shapes of many sizes that hide one another."""
    small, large, power = log_uniform(draw, 1.5, 6), log_uniform(draw, 10, 40), draw.uniform(1.5, 3.5)
    kind, slim, angle, spread = draw.integers(3), log_uniform(draw, 1, 5), draw.uniform(0, math.pi), draw.uniform(0, 2)
    corners = np.linspace(0, 2 * math.pi, (4, 3, 10)[kind], endpoint=False) + math.pi / 4
    across, along = np.cos(corners), np.sin(corners)  # of a shape of radius 1

    def field(rng: Generator, x: Array, y: Array) -> Array:
        n = len(x)
        tilt = turn_of(x, y)
        sheet = Image.new("F", (n, n), 0.5)
        pen = ImageDraw.Draw(sheet)
        count = min(500, int(6 * n * n / (small * large)))
        exponent = 1 - power
        t = rng.random(count)
        radii = (small**exponent + t * (large**exponent - small**exponent)) ** (1 / exponent)
        for radius in radii:
            way = angle - tilt + spread * rng.uniform(-1, 1)
            a, b = radius * across, radius / slim * along
            cx, cy = rng.uniform(-5, n + 5, 2)
            px, py = cx + math.cos(way) * a - math.sin(way) * b, cy + math.sin(way) * a + math.cos(way) * b
            pen.polygon(list(zip(px.tolist(), py.tolist(), strict=True)), fill=float(rng.random()))
        return ndimage.gaussian_filter(np.asarray(sheet), 0.5)

    return field


def waves(draw: Generator) -> Field:
    """Add a few gratings or rings, bent by noise: marble, wood, ripples, moire."""
    count, period, bend = draw.integers(1, 4), log_uniform(draw, 4, 30), draw.uniform(0, 1.5)
    angles, ratios = draw.uniform(0, math.pi, count), draw.uniform(0.5, 2, count)
    sharp, rings, length = draw.uniform(0.5, 4), draw.random() < 0.25, draw.uniform(1, 4)

    def field(rng: Generator, x: Array, y: Array) -> Array:
        total = np.zeros_like(x)
        for angle, ratio in zip(angles, ratios, strict=True):
            along = np.hypot(x - x.mean(), y - y.mean()) if rings else turn(x, y, angle)[0]
            phase = bend * smooth_noise(rng, len(x), length * period) + rng.uniform(0, 7)
            total = total + np.sin(2 * math.pi * along / (period * ratio) + phase)
        return unit(np.tanh(sharp * total))

    return field


def marks(draw: Generator) -> Field:
    """Separate marks strewn on a plain ground: fibers, specks, rings or crosses of one size."""
    size, density, kind = log_uniform(draw, 2, 14), log_uniform(draw, 0.1, 1.2), draw.integers(4)
    angle, spread, width = draw.uniform(0, math.pi), draw.uniform(0, 2), log_uniform(draw, 1, 3)

    def field(rng: Generator, x: Array, y: Array) -> Array:
        n = len(x)
        tilt = turn_of(x, y)
        sheet = Image.new("F", (2 * n, 2 * n), 0.2)
        pen = ImageDraw.Draw(sheet)
        for _ in range(min(1500, int(density * (n / size) ** 2))):
            cx, cy = rng.uniform(-10, 2 * n + 10, 2)
            way, r = angle - tilt + spread * rng.uniform(-1, 1), 2 * size * rng.uniform(0.7, 1.3)
            dx, dy = r * math.cos(way), r * math.sin(way)
            tone, line = float(rng.uniform(0.5, 1)), max(1, round(2 * width))
            if kind == 1:
                pen.ellipse((cx - r / 2, cy - r / 2, cx + r / 2, cy + r / 2), fill=tone)
            elif kind == 2:
                pen.ellipse((cx - r / 2, cy - r / 2, cx + r / 2, cy + r / 2), outline=tone, width=line)
            else:
                pen.line((cx - dx, cy - dy, cx + dx, cy + dy), fill=tone, width=line)
                if kind == 3:
                    pen.line((cx + dy, cy - dx, cx - dy, cy + dx), fill=tone, width=line)
        return np.asarray(sheet).reshape(n, 2, n, 2).mean((1, 3))

    return field


FAMILIES = (spectral, lattice, cells, leaves, waves, marks)


class Material:
    """The material of a number: a main field, often a weaker second one, two colors and a relief."""

    def __init__(self, number: int) -> None:
        draw = np.random.default_rng([number, 7])
        self.field = FAMILIES[number % len(FAMILIES)](draw)
        self.detail = FAMILIES[draw.integers(len(FAMILIES))](draw) if draw.random() < 0.5 else None
        self.share, self.relief = draw.uniform(0.15, 0.5), draw.uniform(0, 2) * (draw.random() < 0.5)
        base = draw.uniform(0.2, 0.8)
        contrast = draw.choice([-1, 1]) * log_uniform(draw, 0.08, 0.8)
        tint = draw.normal(0, 0.12, (2, 3))
        self.colors = np.array([[base - contrast / 2], [base + contrast / 2]]) + tint
        self.angle = draw.uniform(0, 2 * math.pi)

    def render(self, rng: Generator, size: int) -> Array:
        """One picture (size, size, 3), float32, 0 to 1."""
        axis = np.arange(size, dtype=np.float32)
        x, y = np.meshgrid(axis, axis)
        x, y = turn(x, y, self.angle + rng.uniform(-0.25, 0.25))
        zoom = math.exp(rng.uniform(-0.2, 0.2))
        x, y = zoom * x + rng.uniform(500, 1500), zoom * y + rng.uniform(500, 1500)
        height = self.field(rng, x, y)
        if self.detail:
            height = (1 - self.share) * height + self.share * self.detail(rng, x, y)
        colors = self.colors + rng.normal(0, 0.05, (2, 3))
        picture = colors[0] + height[..., None] * (colors[1] - colors[0])
        if self.relief:
            down, right = np.gradient(ndimage.gaussian_filter(height, 0.7))
            light = rng.uniform(0, 2 * math.pi)
            slope = self.relief * (math.cos(light) * right + math.sin(light) * down)
            picture *= 1 + np.clip(slope, -0.6, 0.6)[..., None]
        return np.clip(picture, 0, 1).astype(np.float32)
