"""The scenes of the toy data set: a woven cloth, a wire mesh and a stamped plate, by formulas.

A painter makes a picture (3, n, n). It takes the scene from `rng` alone and the flaw from `flaw`
alone: the same `rng` with and without a defect is the same scene with and without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from fastflow_lite.synthetic.drawing import (
    FULL_TURN,
    Array,
    Pair,
    any_spot,
    blob,
    centered,
    cloud,
    dye,
    either,
    inside,
    paint,
    plane,
    relief,
    spot_in,
    sunlight,
    turn,
)

Painter = Callable[[Generator, int, str | None, Generator], Array]  # rng, size, defect, flaw


# ---- threads and wires: line k runs along y at x = k + 0.5, so x and y count threads -------------


def _woven_axes(rng: Generator, uv: Pair, period: float, angle: float, wander: float) -> Pair:
    """Return x and y, each (n, n), in threads of `period` image widths that wander by a share of it."""
    n = len(uv[0])
    x, y = (
        line + rng.uniform(64, 128) + wander * cloud(rng, n, 16) for line in turn(uv[0] / period, uv[1] / period, angle)
    )
    return x, y


def _pull(x: Array, y: Array, at: tuple[float, float], shift: float, length: float) -> Array:
    """Return x (n, n) with the line at `at` bent sideways by `shift`; its neighbors stay in place."""
    return x + shift * np.exp(-(((x - at[0]) / 0.6) ** 4) - ((y - at[1]) / length) ** 2)


def _stretch(x: Array, y: Array, at: tuple[float, float], length: float, soft: float) -> Array:
    """1 on the line through `at` over a `length` of its course, else 0: (n, n)."""
    return (np.floor(x) == math.floor(at[0])) * inside(np.abs(y - at[1]) - length / 2, soft)


def _over_under(x: Array, y: Array) -> Array:
    """Height (n, n), -1 to 1, of the lines along y; its sign alternates along and across them.

    The lines along x have the height `_over_under(y, x + 1)`: the 1 puts them under what is over.
    """
    odd = np.floor(x) - 2 * np.floor(x / 2)  # several times faster than %
    return np.sin(math.pi * y) * (1 - 2 * odd)


# ---- weave ---------------------------------------------------------------------------------------


def _cloth(rng: Generator, x: Array, y: Array, gone: Array, dyed: Array) -> Pair:
    """Height (0 to 1) and yarn brightness (about 1), each (n, n), of a plain weave."""
    i, j = x.astype(np.int32), y.astype(np.int32)
    a, b = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5  # across the warp, across the weft
    thickness = rng.uniform(0.46, 0.52, (2, 256)).astype(np.float32)
    tone = rng.normal(1, 0.03, (2, 256)).astype(np.float32)
    warp = np.sqrt(np.clip(1 - (a / thickness[0][i]) ** 2, 0, 1)) * (1 - gone)
    warp *= 0.55 + 0.45 * _over_under(x, y)
    weft = np.sqrt(np.clip(1 - (b / thickness[1][j]) ** 2, 0, 1))
    weft *= 0.55 + 0.45 * _over_under(y, x + 1)
    top = inside(weft - warp, 0.15)
    fibers = np.sin(np.where(warp > weft, 9 * a + 14 * b, 14 * a - 9 * b))
    yarn = top * tone[0][i] * (1 + dyed) + (1 - top) * tone[1][j] * rng.uniform(0.84, 0.9)
    return np.maximum(warp, weft), yarn * (1 + 0.08 * fibers)


def paint_weave(rng: Generator, size: int, defect: str | None, flaw: Generator) -> Array:
    """Paint plain-woven cloth. Flaws: a hole, a stain, a missing, displaced or wrong-colored thread."""
    uv, period = plane(size), rng.uniform(1 / 26, 1 / 23)
    n, angle = len(uv[0]), either(rng, 0, 0.26) + math.pi / 2 * rng.integers(2)
    x, y = _woven_axes(rng, uv, period, angle, 0.06)
    gone = dyed = np.zeros_like(x)
    if defect == "thread":
        spot, length, kind = any_spot(flaw, n), flaw.uniform(3, 12), flaw.integers(3)
        at = math.floor(x[spot]) + 0.5, float(y[spot])
        stretch = _stretch(x, y, at, length, 0.5)
        if kind == 0:
            gone = stretch
        elif kind == 1:
            dyed = either(flaw, 0.35, 0.6) * stretch
        else:  # a pulled thread catches the light differently
            x, dyed = _pull(x, y, at, either(flaw, 0.3, 0.42), length / 2), 0.3 * stretch
    height, yarn = _cloth(rng, x, y, gone, dyed)
    shade = 0.3 + 0.7 * height + 0.15 * relief(0.02 * height, sunlight(rng))
    shade *= yarn * (1 + 0.03 * cloud(rng, n, 6) + 0.05 * cloud(rng, n, 200))
    cloth = shade * dye(rng, 0.42, 0.6, 0.03)
    if defect == "hole":
        _tear(flaw, cloth, uv, period * (0.3 - 0.5 * height))
    elif defect == "stain":
        edge = blob(flaw, *centered(uv, any_spot(flaw, n)), flaw.uniform(0.04, 0.14))
        soak = flaw.uniform(0.3, 0.55) * inside(edge, flaw.uniform(0.01, 0.04))
        cloth *= 1 - soak * flaw.uniform(0.4, 1, (3, 1, 1)).astype(np.float32)
    return cloth


def _tear(flaw: Generator, cloth: Array, uv: Pair, fray: Array) -> None:
    """Cut a hole into `cloth` (3, n, n); `fray` (n, n) moves its edge to follow the threads."""
    spot = any_spot(flaw, len(fray))
    edge = blob(flaw, *centered(uv, spot), flaw.uniform(0.02, 0.07)) + fray
    lit = 1 - 0.6 * inside(-edge - 0.012, 0.02)  # the cloth's shadow lies along the edge
    paint(cloth, inside(edge, 0.004), lit * dye(flaw, 0.03, 0.5, 0.05))


# ---- grid ----------------------------------------------------------------------------------------


def _wires(x: Array, y: Array, half: float, lit: Sequence[float]) -> tuple[Array, Array, Array]:
    """Cover, brightness and height, each (n, n), of round wires along y; `lit` is (x, y)."""
    a = x - np.floor(x) - 0.5
    across = np.clip(a / half, -1, 1)
    climb = _over_under(x, y + 0.5)  # up to a crossing, and down again
    facing = lit[0] * across - 0.5 * lit[1] * climb + 0.75 * np.sqrt(1 - across**2)
    facing = np.clip(facing, 0, 1.1)
    gleam = (facing**2) ** 2
    return inside(np.abs(a) - half, 0.05), 0.1 + 0.4 * facing + 0.4 * gleam**2, _over_under(x, y)


def _mesh(rng: Generator, warp: Sequence[Array], weft: Sequence[Array], offset: list[int]) -> Array:
    """Picture (3, n, n) of wires (cover, brightness, height) and their shadow on dark ground."""
    n = len(warp[0])
    shadow = np.roll(np.maximum(warp[0], weft[0]), offset, (0, 1))
    shadow = 1 - 0.65 * ndimage.uniform_filter(shadow, max(1, n // 60))
    soil = shadow * (1 + 0.15 * cloud(rng, n, 40) + 0.15 * cloud(rng, n, 180))
    front = warp[0] * np.where(warp[2] > weft[2], 1, 1 - weft[0])
    back = weft[0] * (1 - front)
    shine = (front * warp[1] + back * weft[1]) * (1 + 0.06 * cloud(rng, n, 120))
    soil *= 1 - front - back
    return soil * dye(rng, 0.08, 0.16, 0.04) + shine * dye(rng, 0.75, 0.95, 0.02)


def paint_grid(rng: Generator, size: int, defect: str | None, flaw: Generator) -> Array:
    """Paint a woven wire mesh. Flaws: a wire that is bent or broken, a drop of glue."""
    uv, period = plane(size), rng.uniform(1 / 8.6, 1 / 7.6)
    n, light = len(uv[0]), sunlight(rng)
    angle = either(rng, 0, 0.14) + math.pi / 2 * rng.integers(2)
    x, y = _woven_axes(rng, uv, period, angle, 0.012)
    half, bent, gap = rng.uniform(0.14, 0.16), x, np.zeros_like(x)
    if defect in ("bent", "broken_wire"):
        spot = any_spot(flaw, n)
        at = math.floor(x[spot]) + 0.5, float(y[spot])
    if defect == "bent":
        bent = _pull(x, y, at, either(flaw, 0.2, 0.38), flaw.uniform(0.4, 1.5))
    elif defect == "broken_wire":
        bent = _pull(x, y, at, either(flaw, 0, 0.15), 0.6)
        gap = _stretch(x, y, at, flaw.uniform(0.35, 1.6), 0.06)
    lit = 0.6 * math.cos(light - angle), 0.6 * math.sin(light - angle)
    cover, shine, height = _wires(bent, y, half, lit)
    weft = _wires(y, x + 1, half, lit[::-1])
    offset = [round(-0.3 * period * n * t) for t in (math.sin(light), math.cos(light))]
    picture = _mesh(rng, (cover * (1 - gap), shine, height), weft, offset)
    return _glue(flaw, picture, uv, light) if defect == "glue" else picture


def _glue(flaw: Generator, picture: Array, uv: Pair, light: float) -> Array:
    """Lay a glossy, half-clear drop on the picture (3, n, n)."""
    radius = flaw.uniform(0.025, 0.075)
    edge = blob(flaw, *centered(uv, any_spot(flaw, len(uv[0]))), radius)
    shine = relief(0.8 * np.sqrt(radius * np.clip(-edge, 0, radius)), light)
    shine = 0.8 + 0.35 * shine + 1.5 * np.clip(shine, 0, 1) ** 6
    return paint(picture, flaw.uniform(0.45, 0.9) * inside(edge, 0.006), shine * dye(flaw, 0.25, 0.6, 0.1))


# ---- part ----------------------------------------------------------------------------------------

HOLES = ((-0.13, 0, 0.075), (0.17, 0.085, 0.03), (0.17, -0.035, 0.03), (-0.235, 0.105, 0.022))


def _plate(x: Array, y: Array, holes: Sequence[tuple[float, float, float]]) -> Array:
    """Signed distance (n, n), negative in metal, to a plate with holes (x, y, radius)."""
    dx, dy = np.abs(x) - 0.22, np.abs(y - 0.025) - 0.06
    corner = np.sqrt(np.clip(dx, 0, None) ** 2 + np.clip(dy, 0, None) ** 2)
    bar = corner + np.clip(np.maximum(dx, dy), None, 0) - 0.05
    lobe = np.sqrt((x + 0.13) ** 2 + y**2) - 0.15
    blend = np.clip(0.5 + (lobe - bar) / 0.1, 0, 1)  # a fillet where the two meet
    edge = lobe + blend * (bar - lobe) - 0.05 * blend * (1 - blend)
    for hx, hy, radius in holes:
        edge = np.maximum(edge, radius - np.sqrt((x - hx) ** 2 + (y - hy) ** 2))
    return edge


def _flawed_edge(flaw: Generator, defect: str | None, edge: Array, uv: Pair) -> Array:
    """Return the plate's distance (n, n) with a bite out of its edge (chip) or a bit more of it (burr)."""
    if defect not in ("burr", "chipped_edge"):
        return edge
    uv = centered(uv, spot_in(flaw, np.abs(edge) < 0.003))
    if defect == "burr":
        return np.minimum(edge, blob(flaw, *uv, flaw.uniform(0.012, 0.028)))
    return np.maximum(edge, -blob(flaw, *uv, flaw.uniform(0.015, 0.045)))


def _scratch(flaw: Generator, edge: Array, uv: Pair) -> Array:
    """Brightness change (n, n) of a thin curved scratch in the metal."""
    uv = centered(uv, spot_in(flaw, edge < -0.02))
    along, across = turn(*uv, flaw.uniform(0, FULL_TURN))
    across = across + either(flaw, 0, 2) * along**2
    half, width = flaw.uniform(0.04, 0.13), flaw.uniform(0.0025, 0.005)
    line = np.exp(-((across / width) ** 2)) * inside(np.abs(along) - half, 0.5 * half)
    return either(flaw, 0.4, 0.7) * line * (edge < -0.004)


def _metal(rng: Generator, x: Array, y: Array, edge: Array, light: float) -> Array:
    """Brightness (n, n) of the plate: beveled edges, an engraved mark, brushed along x."""
    ring = np.abs(np.sqrt((x - 0.06) ** 2 + (y - 0.025) ** 2) - 0.035)
    stroke = np.maximum(np.abs(x - 0.06), np.abs(y - 0.025) - 0.06)
    mark = inside(np.minimum(ring, stroke) - 0.004, 0.005)
    bevel = relief(0.012 * inside(edge + 0.006, 0.012) - 0.003 * mark, light)
    brushed = cloud(rng, 512, 512, 6)
    brushed = brushed[(y * 400).astype(np.int32), (x * 400).astype(np.int32)]  # wraps around
    return 0.62 + 0.04 * brushed - 0.12 * mark + 0.4 * bevel


def paint_part(rng: Generator, size: int, defect: str | None, flaw: Generator) -> Array:
    """Paint a stamped plate at a random place and angle. Flaws: burr, chip, filled hole, scratch."""
    uv, scale, light = plane(size), rng.uniform(0.78, 0.9), sunlight(rng)
    u, v = uv[0] + either(rng, 0, 0.07), uv[1] + either(rng, 0, 0.07)
    x, y = turn(u * scale, v * scale, rng.uniform(0, FULL_TURN))
    n, holes = len(x), list(HOLES)
    if defect == "filled_hole":
        k = flaw.integers(len(holes))
        holes[k] = (*HOLES[k][:2], HOLES[k][2] * flaw.uniform(-0.5, 0.5))  # half-filled at best
    edge = _flawed_edge(flaw, defect, _plate(x, y, holes), uv)
    shine = _metal(rng, x, y, edge, light) + 0.3 * (math.cos(light) * u + math.sin(light) * v)
    if defect == "scratch":
        shine += _scratch(flaw, edge, uv)
    offset = [round(-0.02 * n * t) for t in (math.sin(light), math.cos(light))]
    shadow = 1 - 0.6 * inside(np.roll(edge, offset, (0, 1)), 0.035)
    felt = shadow * (1 + 0.04 * cloud(rng, n, 12) + 0.07 * cloud(rng, n, 160))
    ground = felt * dye(rng, 0.18, 0.42, 0.04)
    return paint(ground, inside(edge, 0.004), shine * dye(rng, 0.85, 1.0, 0.02))


PAINTERS: dict[str, Painter] = {"weave": paint_weave, "grid": paint_grid, "part": paint_part}
