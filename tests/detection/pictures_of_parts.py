"""Small pictures for tests of detectors, and the size that the detector of the tests works at."""

import numpy as np
import torch

SIZE = (32, 48)


def picture(seed: int, height: int = 40, width: int = 60, spot: bool = False) -> np.ndarray:
    """A gray picture `(height, width, 3)` with noise, and a white spot in the middle where one is asked for."""
    values = np.random.default_rng(seed).integers(90, 110, (height, width, 3), np.uint8)
    if spot:
        values[height // 3 : height // 2, width // 3 : width // 2] = 255
    return values


def as_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)
