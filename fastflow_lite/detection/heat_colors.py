"""The colors of a map over an image, and how much of the image they hide."""

from __future__ import annotations

import numpy as np

HEAT = np.array(  # the color map "inferno" at ten even steps
    [
        (0, 0, 4), (27, 12, 65), (75, 12, 107), (120, 28, 109), (165, 45, 96),
        (207, 68, 70), (237, 105, 37), (251, 155, 6), (247, 209, 61), (252, 255, 164),
    ]
)  # fmt: skip
TRANSPARENT, OPAQUE = 0.1, 0.5  # scores: below the first a map hides nothing, from the second on it hides most
COVER = 0.7  # how much a map hides from OPAQUE on


def heat_colors(levels: np.ndarray) -> np.ndarray:
    """Return the colors `(..., 3)` uint8 of levels from 0 to 1."""
    steps = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(levels, steps, channel) for channel in HEAT.T], -1).round().astype(np.uint8)


def heat_cover(scores: np.ndarray) -> np.ndarray:
    """Return how much of the image is hidden at scores from 0 to 1: 0 for nothing, 1 for all."""
    return np.interp(scores, [TRANSPARENT, OPAQUE], [0, COVER])
