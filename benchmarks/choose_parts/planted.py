"""Planted defects: families of local changes of a normal image, each with a strength and an exact mask.

They stand for the defects that nobody has seen yet. `plant` draws one from a generator; the same generator, image and
size give the same defect. Lengths are in pixels of an image of 256, and scale with the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from fastflow_lite.synthetic.materials import Material

VERSION = 3  # raise it when a change here or in `variation` gives other images: kept ones are then made anew
Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
SIDE = 256
VISIBLE = 0.02  # a change of color in [0, 1] from which on a pixel belongs to the mask: five gray levels
LEAST_PIXELS = 12  # of a mask, at a side of 256
TRIES = 30
ON_OBJECT = 0.9  # share of the defects that lie where the image has contrast or differs from its border
STRUCTURE = (
    "paste",
    "blur",
    "missing",
    "displaced",
)  # always there: on a plain ground they would change its grain alone
GRID = 32  # places are chosen on a grid of so many cells a side, so that images of all sizes have the same


class Place(NamedTuple):
    """Where a defect lies: coordinates `y`, `x` (H, W) in pixels around its center, its `radius`, pixels per `unit`."""

    y: Array
    x: Array
    radius: float
    unit: float
    center: tuple[float, float]


Change = tuple[Array, Array]  # another image (H, W, 3), and how much of it is seen (H, W), 0 to 1
Family = Callable[[Generator, Array, Place, float], Change]


def plant(rng: Generator, image: Array, family: str, strength: float) -> tuple[Array, Mask]:
    """Return `image` (H, W, 3) in [0, 1] with one defect, and the mask (H, W) of what really changed.

    `strength` in (0, 1] goes from barely visible to plain. A draw that changes next to nothing is drawn again.
    """
    least = LEAST_PIXELS * (image.shape[0] / SIDE) * (image.shape[1] / SIDE)
    weights, on_object = object_weights(image), 1.0 if family in STRUCTURE else ON_OBJECT
    best, best_mask = image, np.zeros(image.shape[:2], bool)
    for _ in range(TRIES):
        other, cover = FAMILIES[family](rng, image, draw_place(rng, image, weights, on_object), strength)
        changed = np.clip(image + cover[..., None] * (other - image), 0, 1)
        mask = changed_pixels(image, changed, cover)
        if mask.sum() > best_mask.sum():
            best, best_mask = changed, mask
        if mask.sum() >= max(least, 0.4 * (cover > 0.5).sum()):
            return changed, mask
    return best, best_mask


def changed_pixels(image: Array, changed: Array, cover: Array) -> Mask:
    """Return where two images differ visibly, (H, W), inside `cover`; holes are filled and specks left out."""
    unit = max(len(image) / SIDE, 0.5)
    difference = ndimage.gaussian_filter(np.abs(changed - image).max(axis=2), 0.7 * unit)
    mask = ndimage.binary_closing(difference > VISIBLE, iterations=max(1, round(2 * unit)))
    mask = ndimage.binary_fill_holes(mask) & (cover > 0.05)
    regions, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((sizes >= max(LEAST_PIXELS * unit**2 / 2, sizes.max() / 20))[regions] & mask)


def object_weights(image: Array) -> Array:
    """Return how much each cell of a grid belongs to the object, (GRID, GRID), 0 to 1.

    The object is where colors vary from pixel to pixel, or differ from the median color of the image's border.
    """
    unit = len(image) / SIDE
    mean = ndimage.gaussian_filter(image, (3 * unit, 3 * unit, 0))
    square = ndimage.gaussian_filter(image**2, (3 * unit, 3 * unit, 0))
    contrast = np.sqrt(np.clip(square - mean**2, 0, None)).max(axis=2)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    distance = np.abs(mean - np.median(border, axis=0)).max(axis=2)
    weights = sum(np.clip(one / (np.quantile(one, 0.95) + 1e-6), 0, 1) for one in (contrast, distance))
    cells = ndimage.zoom(weights, (GRID / image.shape[0], GRID / image.shape[1]), order=1, mode="nearest")
    cells = cells / cells.max()
    return np.where(cells > 0.3, cells, 0)


def draw_place(rng: Generator, image: Array, weights: Array, on_object: float) -> Place:
    """Draw a center, with the chance `on_object` on the object, and a radius of 2.5 to 10 percent of the side."""
    height, width = image.shape[:2]
    chosen = weights if rng.random() < on_object else np.ones_like(weights)
    cell = np.searchsorted(np.cumsum(chosen.ravel()), rng.random() * chosen.sum())
    row, column = divmod(min(int(cell), GRID**2 - 1), GRID)
    cy, cx = (row + rng.random()) / GRID * height, (column + rng.random()) / GRID * width
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    radius = math.exp(rng.uniform(math.log(0.025), math.log(0.1))) * math.sqrt(height * width)
    return Place(y - cy, x - cx, radius, height / SIDE, (cy, cx))


def blob(rng: Generator, place: Place, soft: float = 1.0) -> Array:
    """Return 1 inside an uneven ellipse and 0 outside, (H, W); the edge is `soft` pixels wide."""
    angle, stretch = rng.uniform(0, math.pi), math.exp(rng.uniform(-0.4, 0.4))
    u, v = turned(place, angle)
    u, v = u / place.radius * stretch, v / place.radius / stretch
    around = np.arctan2(v, u)
    wobble = sum(rng.uniform(-0.15, 0.15) * np.cos(k * around + rng.uniform(0, 7)) for k in (2, 3, 5))
    return np.clip((1 + wobble - np.hypot(u, v)) * place.radius / (soft * place.unit) + 0.5, 0, 1)


def box(rng: Generator, place: Place) -> Array:
    """Return 1 inside a rectangle and 0 outside, (H, W)."""
    angle, stretch = rng.choice([0, rng.uniform(0, math.pi)]), math.exp(rng.uniform(-0.6, 0.6))
    u, v = turned(place, angle)
    return (np.maximum(np.abs(u) * stretch, np.abs(v) / stretch) < place.radius * 0.9).astype(np.float32)


def turned(place: Place, angle: float) -> tuple[Array, Array]:
    """Return the coordinates of a place turned by an angle."""
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * place.x + sin * place.y, cos * place.y - sin * place.x


def paste(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A piece of the image from elsewhere, its colors changed a little (CutPaste, arXiv 2104.04015)."""
    cover = box(rng, place) if rng.random() < 0.5 else blob(rng, place)
    best, most = image, -1.0
    for _ in range(6):  # the most different of some, since much of an image looks alike
        shift = [round(rng.uniform(0.1, 0.9) * side - c) for side, c in zip(image.shape, place.center, strict=False)]
        other = np.roll(image, [-s for s in shift], (0, 1))
        difference = float((np.abs(other - image).mean(axis=2) * cover).sum())
        if difference > most:
            best, most = other, difference
    return best * rng.uniform(0.9, 1.1, 3), cover * (0.15 + 0.85 * strength)


def foreign(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A piece of another material, as bright as its place when weak."""
    cover = blob(rng, place)
    side = max(image.shape[:2])
    texture = Material(int(rng.integers(10_000))).render(rng, side)
    texture = texture[: image.shape[0], : image.shape[1]]
    inside = cover > 0.5
    if inside.any():
        texture = texture + (1 - strength) * (image[inside].mean(axis=0) - texture[inside].mean(axis=0))
    return texture, cover * (0.15 + 0.85 * strength)


def scar(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A thin strip, bent a little, brighter, darker or of another color."""
    u, v = turned(place, rng.uniform(0, math.pi))
    half_length = place.radius * rng.uniform(0.8, 2.2)
    half_width = place.unit * rng.uniform(0.7, 2.5)
    bent = np.abs(v + rng.uniform(-0.3, 0.3) * u**2 / half_length) - half_width
    cover = np.clip(0.5 - bent / place.unit, 0, 1) * np.clip(0.5 + (half_length - np.abs(u)) / place.unit, 0, 1)
    return image + color_shift(rng, image, cover, 0.06 + 0.4 * strength), cover


def blur(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A spot without fine structure."""
    cover = blob(rng, place, soft=3)
    sigma = place.unit * (0.6 + 4 * strength)
    return ndimage.gaussian_filter(image, (sigma, sigma, 0)), cover


def noise(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A spot with grain."""
    cover = blob(rng, place, soft=3)
    channels = 1 if rng.random() < 0.5 else 3
    size = [round(SIDE * n / max(image.shape[:2])) for n in image.shape[:2]]
    grain = ndimage.gaussian_filter(rng.normal(size=(*size, channels)), (*[rng.uniform(0.3, 1.2)] * 2, 0))
    zoom = [n / s for n, s in zip(image.shape[:2], size, strict=True)]
    grain = ndimage.zoom(grain / grain.std(), (*zoom, 1), order=1, mode="nearest")
    return image + (0.02 + 0.1 * strength) * grain, cover


def color(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A spot of another brightness or color."""
    cover = blob(rng, place, soft=rng.uniform(1, 3))
    return image + color_shift(rng, image, cover, 0.05 + 0.3 * strength), cover


def stain(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A faint spot whose edge is as soft as it is wide."""
    place = place._replace(radius=place.radius * 1.3)
    cover = blob(rng, place, soft=1.2 * place.radius / place.unit)
    return image + color_shift(rng, image, cover, 0.04 + 0.18 * strength), cover


def missing(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A part that is not there: its surroundings, smoothed, or the color of the image's border are seen instead."""
    place = place._replace(radius=place.radius * (0.6 + 0.9 * strength))
    cover = blob(rng, place, soft=1.5)
    outside = (cover < 0.02).astype(np.float32)
    if rng.random() < 0.5:
        sigma = max(place.radius * 0.6, 2)
        known = ndimage.gaussian_filter(outside, sigma) + 1e-6
        fill = ndimage.gaussian_filter(image * outside[..., None], (sigma, sigma, 0)) / known[..., None]
    else:
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        fill = np.broadcast_to(np.median(border, axis=0), image.shape)
    fine = image - ndimage.gaussian_filter(image, (2, 2, 0))
    grain = rng.normal(0, np.median(np.abs(fine)), image.shape)  # as a camera would leave it
    return fill + grain, cover * (0.3 + 0.7 * strength)


def displaced(rng: Generator, image: Array, place: Place, strength: float) -> Change:
    """A part that lies some pixels away from its place, or is turned in it."""
    place = place._replace(radius=place.radius * 1.2)
    cover = blob(rng, place, soft=1.5)
    if rng.random() < 0.6:
        angle, far = rng.uniform(0, 2 * math.pi), place.unit * (1 + 11 * strength)
        moved = far * math.sin(angle), far * math.cos(angle), 0
        return ndimage.shift(image, moved, order=1, mode="nearest"), cover
    angle = rng.choice([-1, 1]) * math.radians(5 + 85 * strength)
    cos, sin, center = math.cos(angle), math.sin(angle), np.array(place.center)
    matrix = np.array([[cos, sin], [-sin, cos]])
    channels = [
        ndimage.affine_transform(image[..., k], matrix, center - matrix @ center, order=1, mode="nearest")
        for k in range(3)
    ]
    return np.stack(channels, axis=2), cover


def color_shift(rng: Generator, image: Array, cover: Array, size: float) -> Array:
    """Draw a change of color (3,) whose largest part is `size`; it leads away from black and white that are near."""
    direction = np.ones(3) if rng.random() < 0.5 else 0.5 + rng.uniform(-1, 1, 3)
    direction = direction / np.abs(direction).max()
    mean = (image * cover[..., None]).sum(axis=(0, 1)) / max(float(cover.sum()), 1e-6)
    room = np.clip(mean + size * direction, 0, 1) - mean
    back = np.clip(mean - size * direction, 0, 1) - mean
    sign = 1 if np.abs(room).max() > size * 0.8 and rng.random() < 0.5 else -1
    sign = sign if sign > 0 or np.abs(back).max() > size * 0.8 else 1
    return sign * size * direction


FAMILIES: dict[str, Family] = {
    "paste": paste,
    "foreign": foreign,
    "scar": scar,
    "blur": blur,
    "noise": noise,
    "color": color,
    "stain": stain,
    "missing": missing,
    "displaced": displaced,
}
