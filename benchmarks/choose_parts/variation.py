"""What differs between normal photographs of two days: light, color, place, angle, focus and grain, each a little.

A training set often lacks it, and a test set has it: the test screws of MVTec AD are lit otherwise than the training
ones. A setting that takes it for a defect raises false alarms, which held-out images of the training set do not show.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.floating]
LIGHT, TINT = 0.05, 0.015  # largest relative change of all channels together, and of each
SHIFT, ANGLE = 0.01, 1.5  # largest move, as a share of a side, and turn in degrees
FOCUS, GRAIN = 0.4, 0.006  # largest deviation of a Gaussian blur in pixels of an image of 256, and of noise


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
    noise = rng.normal(0, rng.uniform(0, GRAIN), image.shape)
    return np.asarray(np.clip(blurred * light + noise, 0, 1))
