"""What differs between normal photographs of two days: light, color, place, angle, focus, grain, each a little.

A training set often lacks it, and a test set has it: the test screws of MVTec AD are lit otherwise than the training
ones. A setting that takes it for a defect raises false alarms, which held-out images of the training set do not show.

The views of the recipe `ours` have light, color, place, angle, focus and grain too. So there are three more changes
that no view has: the lamp stands elsewhere, the camera has another contrast curve, and the file is a JPEG. They tell
how a model takes a change that it was not trained for.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.floating]
LIGHT, TINT = 0.05, 0.015  # largest relative change of all channels together, and of each
SHIFT, ANGLE = 0.01, 1.5  # largest move, as a share of a side, and turn in degrees
FOCUS, GRAIN = 0.4, 0.006  # largest deviation of a Gaussian blur in pixels of an image of 256, and of noise
SLOPE = 0.06  # largest relative change of light from the middle of the image to its border, in a drawn direction
CURVE = 0.06  # largest change of the exponent of values in [0, 1]
QUALITY = 88, 98  # of the JPEG file


def vary(rng: Generator, image: Array) -> Array:
    """Return another photograph of the normal `image` (H, W, 3) in [0, 1]."""
    height, width, _ = image.shape
    angle = np.deg2rad(rng.uniform(-ANGLE, ANGLE))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.array([height - 1, width - 1]) / 2
    offset = center - turn @ center + rng.uniform(-SHIFT, SHIFT, 2) * (height, width)
    sigma = rng.uniform(0, FOCUS) * height / 256
    moved = [ndimage.affine_transform(image[..., k], turn, offset, order=1, mode="reflect") for k in range(3)]
    blurred = np.stack([ndimage.gaussian_filter(channel, sigma) for channel in moved], axis=2)
    light = 1 + rng.uniform(-LIGHT, LIGHT) + rng.uniform(-TINT, TINT, 3)
    lit = np.clip(blurred * light * slope(rng, height, width), 0, 1) ** (1 + rng.uniform(-CURVE, CURVE))
    noise = rng.normal(0, rng.uniform(0, GRAIN), image.shape)
    return as_jpeg(np.clip(lit + noise, 0, 1), int(rng.integers(*QUALITY)))


def slope(rng: Generator, height: int, width: int) -> Array:
    """Return light `(H, W, 1)` that rises in one direction, 1 in the middle."""
    direction, change = rng.uniform(0, 2 * np.pi), rng.uniform(0, SLOPE)
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[:, None]
    return np.asarray(1 + change * (np.cos(direction) * x + np.sin(direction) * y))


def as_jpeg(image: Array, quality: int) -> Array:
    """Return `image` (H, W, 3) in [0, 1] as it comes back from a JPEG file."""
    file = io.BytesIO()
    Image.fromarray((image * 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float64) / 255
