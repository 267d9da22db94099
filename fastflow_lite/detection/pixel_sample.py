"""Pixels of many maps in bounded memory."""

from __future__ import annotations

import numpy as np


class PixelSample:
    """Every k-th pixel of many arrays. k starts at 1 and doubles where more than `most` pixels would be kept.

    Two samples with the same `most` that are given arrays of the same shapes keep the same pixels.

    >>> sample = PixelSample(most=6)
    >>> sample.add(np.arange(4)), sample.add(np.arange(10, 14))
    (None, None)
    >>> sample.values().tolist(), sample.step
    ([0, 2, 10, 12], 2)
    """

    def __init__(self, most: int) -> None:
        self.most, self.step = most, 1
        self._kept: list[np.ndarray] = []

    def add(self, array: np.ndarray, counted: np.ndarray | None = None) -> None:
        """Add pixels of an array; those alone that `counted`, bool in its shape, marks."""
        while array.size > self.most * self.step:
            self._thin()
        values = array.ravel()[:: self.step]
        self._kept.append(values.copy() if counted is None else values[counted.ravel()[:: self.step]])
        while sum(part.size for part in self._kept) > self.most:
            self._thin()

    def values(self) -> np.ndarray:
        """Return all pixels that were kept, flat."""
        return np.concatenate(self._kept)

    def _thin(self) -> None:
        self._kept, self.step = [part[::2].copy() for part in self._kept], 2 * self.step
